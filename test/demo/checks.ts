import assert from "node:assert/strict";
import { request } from "node:http";
import { say } from "./screen";

const ANSWERS = 10;

/** Fails unless every answer at a port comes from this release. */
export async function answersFrom(port: number, release: string): Promise<void> {
  for (let i = 0; i < ANSWERS; i++)
    assert.equal(await answeringRelease(port), release, "the release that answers through the edge");
  say(`✓ ${ANSWERS} of ${ANSWERS} answers through the edge are from ${release}`);
}

async function answeringRelease(port: number): Promise<string> {
  const { status, release } = await ask(port, "GET", "/");
  return status === 200 ? release : `HTTP ${status}`;
}

/** The JSON that is answered. */
export async function json(port: number, method: string, path: string): Promise<Record<string, unknown>> {
  const { status, text } = await ask(port, method, path);
  if (status >= 300) throw new Error(`${method} ${path} was answered with ${status}: ${text}`);
  return JSON.parse(text) as Record<string, unknown>;
}

function ask(port: number, method: string, path: string): Promise<{ status: number; release: string; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, method, path, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response
        .on("error", reject)
        .on("end", () =>
          resolve({ status: response.statusCode ?? 0, release: String(response.headers["x-release"]), text }),
        );
    });
    call.on("error", reject).end();
  });
}

/** Fails unless a text says this; prints what it was about. */
export function shows(text: string, pattern: RegExp, what: string): void {
  assert.match(text, pattern, what);
  say(`✓ ${what}`);
}
