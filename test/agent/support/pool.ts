import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AgentClient } from "../../../src/agent/client/client";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { keepLease } from "../../../src/provider/rollout/lease";
import type { Cleanup } from "../../support/agent";
import { startHarness } from "../../support/harness";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";

/** An app whose releases differ by its environment: it answers with its release, and may ignore SIGTERM. */
export const APP = `
const { createServer } = require("node:http");
if (process.env.STUBBORN) process.on("SIGTERM", () => console.log("SIGTERM ignored"));
createServer((request, response) => {
  response.writeHead(200, { "x-release": process.env.SLUICE_RELEASE_ID });
  if (request.url === "/hang") response.write("begun");
  else response.end(process.env.ANSWER ?? process.env.SLUICE_RELEASE_ID);
}).listen(Number(process.env.SLUICE_PORT), "127.0.0.1");
`;

/** The folder of a release of the test's app. */
export async function releaseFolder(directory: string): Promise<string> {
  const path = join(directory, "release");
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "app.cjs"), APP);
  return path;
}

export interface AppOptions {
  path: string;
  ports: { from: number; to: number };
  release: string;
  env?: Record<string, string>;
  replicas?: number;
  drainDeadline?: "1 second" | "1 minute" | "1 hour";
  gracefulStop?: "300 milliseconds" | "1 second" | "2 seconds" | "10 seconds";
}

/** The step that starts a release of pool `web` on edge `main`. */
export function startStep(o: AppOptions, pool = "web"): StepInput & { verb: "pool.start" } {
  return {
    verb: "pool.start",
    pool,
    spec: {
      edge: "main",
      release: { id: o.release, path: o.path },
      ports: o.ports,
      drainDeadline: o.drainDeadline ?? "1 minute",
      processes: {
        web: {
          policy: "proxied",
          command: [process.execPath, "app.cjs"],
          env: o.env ?? {},
          replicas: o.replicas ?? 1,
          health: { path: "/", interval: "20 milliseconds", deadline: "10 seconds" },
          gracefulStop: o.gracefulStop ?? "300 milliseconds",
        },
      },
    },
  };
}

/** Renews a transaction's lease while something is done in it: on a busy machine that may take longer than the lease. */
export async function renewing<T>(
  client: AgentClient,
  id: string,
  leaseMs: number,
  work: () => Promise<T>,
): Promise<T> {
  let stop: () => void = () => undefined;
  const lost = new Promise<never>((_, reject) => {
    stop = keepLease(client, id, leaseMs, reject);
  });
  try {
    return await Promise.race([work(), lost]);
  } finally {
    stop();
  }
}

/** Declares edge `main` on a port. */
export function edgeStep(port: number, edge = "main"): StepInput {
  return {
    verb: "edge.set",
    edge,
    spec: { frontends: { http: { binds: [{ address: "127.0.0.1", port }], defaultBackend: "web" } } },
  };
}

/** Promotes a release of pool `web`. */
export function promote(client: AgentClient, options: AppOptions): Promise<void> {
  return change(client, "pool/web", [
    startStep(options),
    { verb: "pool.switch", pool: "web" },
    { verb: "pool.follow", pool: "web" },
  ]);
}

/** An agent with edge `main` and release v1 of pool `web`. */
export async function startWithPool(t: Cleanup, options: Partial<AppOptions> = {}) {
  const agent = await startHarness(t);
  const app: AppOptions = {
    path: await releaseFolder(agent.directory),
    ports: await freeRange(8),
    release: "v1",
    ...options,
  };
  await promote(agent.client, app);
  return { ...agent, app };
}
