import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type InPlaceWatchInput, inPlaceWatch } from "../../../src/model/pool/in-place";
import { type PoolInput, poolSpec } from "../../../src/model/pool/pool";
import type { StepInput } from "../../../src/model/protocol/transaction";
import type { PoolInputs } from "../../../src/provider/resources/pool-inputs";
import { startTestAgent, type TestAgent, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { startServer } from "../../support/server";
import { change } from "../../support/transaction";

const APP = join(__dirname, "..", "..", "fixtures", "canary", "app.mjs");
/** How a release of the test's app is. */
export interface Behaviour {
  health?: number;
  errors?: number;
  delayMs?: number;
}

export interface Nodes {
  edges: (TestAgent & { port: number })[];
  node: TestAgent;
  /** Places a release of the app on the node. */
  release(id: string, behaviour?: Behaviour): Promise<PoolInput["release"]>;
  /** Inputs of the node's pool. */
  inputs(release: PoolInput["release"], watch?: InPlaceWatchInput, changes?: Partial<PoolInput>): PoolInputs;
  /** State of the node's server on each edge. */
  states(): Promise<(string | undefined)[]>;
  /** The committed release of the node. */
  committed(): Promise<string>;
}

/**
 * Some edges, each of an agent of its own, whose backend `web` leads to two servers: `node`, a pool in place of another agent,
 * and `peer`, which this process serves.
 */
export async function startNodes(t: TestContext, edgeCount = 2): Promise<Nodes> {
  const peer = await startServer(
    t,
    (_request, response) => response.writeHead(200, { "x-release": "peer" }).end("peer"),
    { keepAliveTimeout: 75_000 },
  );
  const port = await freePorts(1 + edgeCount);
  const edges = await Promise.all(
    Array.from({ length: edgeCount }, async (_, index) => {
      const agent = await startTestAgent(t);
      const bind = { port: port + 1 + index };
      await change(agent.client, "edge/main", [
        {
          verb: "edge.set",
          edge: "main",
          spec: { frontends: { http: { binds: [bind], defaultBackend: "web" } }, meter: true },
        },
      ]);
      await change(agent.client, "backend/main/web", [
        {
          verb: "backend.set",
          edge: "main",
          backend: "web",
          spec: {
            health: { path: "/healthz", interval: "200 milliseconds" },
            servers: {
              node: { address: "127.0.0.1", port },
              peer: { address: "127.0.0.1", port: peer.port },
            },
          },
        },
      ]);
      return { ...agent, port: bind.port };
    }),
  );
  const node = await startTestAgent(t);
  const folder = await temporaryFolder(t);
  return {
    edges,
    node,
    async release(id, behaviour = {}) {
      const path = join(folder, id);
      await mkdir(path, { recursive: true });
      await writeFile(join(path, "release.json"), JSON.stringify({ id, ...behaviour }));
      return { id, path };
    },
    inputs(release, watch = {}, changes = {}) {
      const spec = poolSpec.parse({
        strategy: "in-place",
        release,
        ports: { from: port, to: port },
        drainDeadline: "5 seconds",
        processes: {
          web: {
            policy: "proxied",
            command: [process.execPath, APP, "{{port}}"],
            gracefulStop: "2 seconds",
            health: { path: "/healthz", interval: "50 milliseconds", deadline: "20 seconds" },
          },
        },
        ...changes,
      });
      const leading = edges.map(({ directory, socket }) => ({ agent: { directory, socket }, edge: "main" }));
      return {
        ...spec,
        agent: { directory: node.directory, socket: node.socket },
        name: "web",
        serves: { backend: "web", server: "node", probe: {}, edges: leading },
        watch: inPlaceWatch.parse(watch),
        change: { kind: "promotion", order: [], from: "", to: release.id },
        live: { release: release.id, servers: {}, processes: {} },
      };
    },
    states: () =>
      Promise.all(
        edges.map(async ({ client }) => {
          const found = await client.edge("main");
          return found?.observed.backends.web?.node?.state;
        }),
      ),
    committed: async () => (await node.client.pool("web"))?.live.release ?? "",
  };
}

/** The step that starts what is declared. */
export function startStep({
  agent: _agent,
  name,
  serves: _serves,
  watch: _watch,
  change: _change,
  live: _live,
  ...spec
}: PoolInputs): StepInput & { verb: "pool.start" } {
  return { verb: "pool.start", pool: name, spec };
}
