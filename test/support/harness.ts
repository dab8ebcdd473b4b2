import { type BackendInput, backendSpec } from "../../src/model/edge/backend";
import { edgeSpec } from "../../src/model/edge/edge";
import type { StepInput, Target } from "../../src/model/protocol/transaction";
import { type RouteInput, routeSpec } from "../../src/model/route/route";
import { type Cleanup, startTestAgent, type TestAgent } from "./agent";
import { freePorts } from "./ports";
import { startServer } from "./server";
import { change } from "./transaction";

/** An agent with edges, and backends of the same names on each of them. */
export interface Harness extends TestAgent {
  /** Addresses of the edges, in their order. */
  urls: string[];
  /** Port and address of the first edge. */
  port: number;
  url: string;
  /** Runs steps in a transaction of their own and commits it. */
  change(target: Target, ...steps: StepInput[]): Promise<void>;
  /** Declares a backend on all edges, with one server at a port, or none. */
  backend(name: string, port?: number): Promise<void>;
  /** Answers of the edges to one request each. */
  answers(): Promise<string[]>;
}

export interface HarnessOptions {
  /** @default ["main"] */
  edges?: readonly string[];
  /** By name: the port of the backend's server; null for none. The first is the default of the edges. */
  backends?: Record<string, { port: number } | null>;
  meter?: boolean;
  /** State folder. @default one of its own */
  directory?: string | undefined;
}

export async function startHarness(
  t: Cleanup,
  { edges = ["main"], backends = {}, meter = false, directory }: HarnessOptions = {},
): Promise<Harness> {
  const agent = await startTestAgent(t, directory === undefined ? {} : { directory });
  const port = await freePorts(edges.length);
  const urls = edges.map((_, index) => `http://127.0.0.1:${port + index}`);
  const run = (target: Target, ...steps: StepInput[]) => change(agent.client, target, steps);
  const backend = async (name: string, at?: number) => {
    const servers: BackendInput["servers"] = at === undefined ? {} : { one: { address: "127.0.0.1", port: at } };
    const spec = backendSpec.parse({ servers });
    for (const edge of edges) await run(`backend/${edge}/${name}`, { verb: "backend.set", edge, backend: name, spec });
  };
  const [defaultBackend = "web"] = Object.keys(backends);
  for (const [index, edge] of edges.entries()) {
    const http = { binds: [{ address: "127.0.0.1", port: port + index }], defaultBackend };
    const spec = edgeSpec.parse({ frontends: { http }, meter });
    await run(`edge/${edge}`, { verb: "edge.set", edge, spec });
  }
  for (const [name, server] of Object.entries(backends)) await backend(name, server?.port);
  return {
    ...agent,
    urls,
    port,
    url: urls[0] ?? "",
    change: run,
    backend,
    answers: () => Promise.all(urls.map(async (url) => (await fetch(url)).text())),
  };
}

/** Servers that answer with their names. */
export async function namedServers(t: Cleanup, ...names: string[]): Promise<Record<string, { port: number }>> {
  const servers = names.map(
    async (name) => [name, await startServer(t, (_request, response) => void response.end(name))] as const,
  );
  return Object.fromEntries(await Promise.all(servers));
}

/** The step that sets route `api` over the backends blue and green. */
export function setRoute(split: number, more: Partial<RouteInput> = {}): StepInput {
  const spec = routeSpec.parse({ edges: ["main"], stable: "blue", candidate: "green", split, ...more });
  return { verb: "route.set", route: "api", spec };
}
