import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { ask } from "../../../src/agent/haproxy/runtime/runtime-api";
import type { BackendInput } from "../../../src/model/edge/backend";
import type { Cleanup } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { change } from "../../support/transaction";
import { type World, world } from "./world";

/** A host on which everything is good: edge `main` leads to pool `web`, and its route `api` to backends `api` and `beta`. */
export interface BrokenHost extends World {
  /** Runs a command of HAProxy's runtime API. */
  haproxy(command: string): Promise<string>;
  /** Servers of backend `api`. */
  api: ServerOnPort[];
  /** The one server of backend `beta`, which the route gives half of its requests. */
  beta: ServerOnPort;
}

const CHECKED = { path: "/", interval: "100 milliseconds", rise: 1, fall: 1 } as const;

export async function brokenHost(t: Cleanup): Promise<BrokenHost> {
  const it = await world(t, {
    worker: { policy: "companion", command: unlessDown("worker", 10_000), restart: { maxRestarts: 0 } },
    clock: { policy: "singleton", command: unlessDown("clock", 10_001) },
    queue: { policy: "service", command: unlessDown("queue", 10_002) },
  });
  const first = await freePorts(3);
  const servers = await Promise.all([0, 1, 2].map((index) => serverOn(t, first + index)));
  const [api0, api1, beta] = servers as [ServerOnPort, ServerOnPort, ServerOnPort];
  const backend = (name: string, spec: BackendInput) =>
    change(it.client, `backend/main/${name}`, [{ verb: "backend.set", edge: "main", backend: name, spec }]);
  const at = ({ port }: ServerOnPort) => ({ address: "127.0.0.1", port });
  await backend("api", { health: CHECKED, servers: { one: at(api0), two: at(api1) } });
  await backend("beta", { health: CHECKED, servers: { only: at(beta) } });
  await change(it.client, "route/api", [
    {
      verb: "route.set",
      route: "api",
      spec: { edges: ["main"], match: { pathPrefix: "/api" }, stable: "api", candidate: "beta", split: 5000 },
    },
  ]);
  const socket = join(it.directory, "edges", "main", "worker.sock");
  return { ...it, api: [api0, api1], beta, haproxy: (command) => ask(socket, command, { retry: true }) };
}

/** Ends at once while the release has a file that forbids it to run. */
function unlessDown(name: string, seconds: number): string[] {
  return ["sh", "-c", `[ ! -e ${name}.down ] && exec sleep ${seconds}`];
}

/** An HTTP server that can be taken down, and comes back on its port. */
interface ServerOnPort {
  port: number;
  up(): Promise<void>;
  down(): Promise<void>;
}

async function serverOn(t: Cleanup, port: number): Promise<ServerOnPort> {
  let server: Server | undefined;
  const up = async () => {
    const next = createServer((_, response) => response.end("ok"));
    await new Promise<void>((resolve, reject) => {
      next.once("error", reject);
      next.listen(port, "127.0.0.1", resolve);
    });
    server = next;
  };
  const down = async () => {
    const before = server;
    server = undefined;
    before?.closeAllConnections();
    await new Promise((resolve) => (before === undefined ? resolve(undefined) : before.close(resolve)));
  };
  t.after(down);
  await up();
  return { port, up, down };
}
