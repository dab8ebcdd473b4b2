// Shared by the app's programs.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A variable of the environment that must be there. */
export function required(name) {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set: see stacks/webapp/index.ts`);
  return value;
}

/** {id, healthy} of the release that this process is of. */
export function releaseOf() {
  return JSON.parse(readFileSync(join(required("SLUICE_RELEASE_PATH"), "release.json"), "utf8"));
}

/** One line on standard output: `sluice logs` shows it. */
export function log(text) {
  console.log(`${new Date().toISOString()} ${process.env.SLUICE_PROCESS_ID ?? process.pid} ${text}`);
}

/** How long a broker may be away, while it is restarted, until a request to it fails. */
const BROKER_PATIENCE_MS = 5_000;
const RETRY_MS = 100;

/** One request to the broker: {status, body}. Tried again while nobody listens there. */
export async function broker(method, path, body) {
  const url = `http://127.0.0.1:${required("BROKER_PORT")}${path}`;
  const init = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const giveUpAt = Date.now() + BROKER_PATIENCE_MS;
  for (;;) {
    try {
      const response = await fetch(url, init);
      const text = await response.text();
      return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
    } catch (error) {
      // Anything else than a refused connection may have been done: doing it twice is not this program's to decide.
      if (error.cause?.code !== "ECONNREFUSED" || Date.now() > giveUpAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
