import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { TestContext } from "node:test";
import { AgentClient } from "../../../../src/agent/client/client";
import { endEverything, temporaryFolder } from "../../../support/agent";
import { freePorts } from "../../../support/ports";
import { type Outcome, REPOSITORY, Workspace } from "../../support/engine";
import { PROGRAM } from "./program";

const APP = path.join(REPOSITORY, "test", "fixtures", "engine", "app.mjs");
const PORTS = 40;
/** Frontends of the edge, by the backend that they lead to; each has a port of its own. */
const FRONTENDS = ["web", "stable", "nodes", "tried", "plain"] as const;

/** A resource of each kind, by its key in the program. */
export const KINDS = {
  "an agent": { key: "agent", type: "Agent" },
  "an edge": { key: "edge", type: "Edge" },
  "a backend": { key: "plain", type: "Backend" },
  "a pool side by side": { key: "web", type: "Pool" },
  "a pool with a candidate": { key: "tried", type: "Pool" },
  "a pool in place": { key: "node-a", type: "Pool" },
  "a route": { key: "api", type: "Route" },
} as const;
export type Kind = (typeof KINDS)[keyof typeof KINDS];

/** How a resource is declared differently, by key. */
export interface Change {
  /** Logical name. */
  name?: string;
  /** Name of a component that becomes its parent. */
  group?: string;
  args?: object;
  options?: object;
  absent?: boolean;
}

/** Live state: processes that serve requests, and the agents' committed state. */
export interface Reality {
  pids: Record<string, unknown>;
  committed: Committed[];
  /** Those on the edge's agent. */
  pools: Committed["pools"];
}

type Committed = Record<"edges" | "backends" | "routes", unknown> & {
  pools: Record<string, { settings: { drainDeadline: string } }>;
};

/** A stack with every kind of resource, on two agents of its own. */
export class Whole {
  readonly clients: Record<"agent" | "nodes", AgentClient>;

  private constructor(
    readonly stack: Workspace,
    readonly hosts: Record<"agent" | "nodes", string>,
    private readonly port: number,
    private readonly servers: Record<string, object>,
  ) {
    this.clients = {
      agent: new AgentClient(path.join(hosts.agent, "a.sock")),
      nodes: new AgentClient(path.join(hosts.nodes, "a.sock")),
    };
  }

  /** With everything declared, and up. */
  static async start(t: TestContext): Promise<Whole> {
    const whole = await Whole.prepare(t);
    await whole.declare();
    await whole.must(whole.stack.up());
    return whole;
  }

  /** Before its first update. */
  static async prepare(t: TestContext): Promise<Whole> {
    const hosts = { agent: await temporaryFolder(t), nodes: await temporaryFolder(t) };
    const stack = await Workspace.create({
      program: PROGRAM,
      providers: { sluice: path.join(REPOSITORY, "src", "provider") },
      files: Object.fromEntries(["v1", "v2"].map((id) => [`releases/${id}/file`, id])),
    });
    const servers = Object.fromEntries(
      await Promise.all(
        ["stable", "candidate", "plain"].map(async (name) => [name, await answering(t, name)] as const),
      ),
    );
    const port = await freePorts(PORTS);
    const nodes = {
      "node-a": { address: "127.0.0.1", port: port + 30 },
      "node-b": { address: "127.0.0.1", port: port + 31 },
    };
    const check = { path: "/healthz", interval: "200 milliseconds" };
    const whole = new Whole(stack, hosts, port, { ...servers, nodes: { servers: nodes, health: check } });
    t.after(async () => {
      for (const client of Object.values(whole.clients)) client.close();
      await Promise.all(Object.values(hosts).map(endEverything));
      await stack.close();
    });
    return whole;
  }

  get ports(): number[] {
    return FRONTENDS.map((_, index) => this.port + index);
  }

  urn({ key, type }: Kind, name: string = key, project = "test", stack = "dev"): string {
    return `urn:pulumi:${stack}::${project}::sluice:index:${type}::${name}`;
  }

  /** Writes what the program declares next, `inOrder` for one resource after the other. */
  async declare(changes: Record<string, Change> = {}, { inOrder = false } = {}): Promise<void> {
    const { hosts, servers } = this;
    const declared = { hosts, servers, args: this.args(), changes, inOrder };
    await this.stack.write("declared.json", JSON.stringify(declared));
  }

  private args(): Record<string, object> {
    const { port } = this;
    const web = {
      policy: "proxied",
      command: ["node", APP, "{{port}}", "{{release.id}}"],
      health: { path: "/healthz", interval: "50 milliseconds", deadline: "20 seconds" },
      gracefulStop: "2 seconds",
    };
    const pool = (from: number, to: number, changes: object = {}) => ({
      release: this.release("v1"),
      ports: { from: port + from, to: port + to },
      drainDeadline: "2 seconds",
      processes: { web },
      ...changes,
    });
    const frontends = FRONTENDS.map((defaultBackend, index) => [
      defaultBackend,
      { binds: [{ port: port + index }], defaultBackend },
    ]);
    return {
      edge: { frontends: Object.fromEntries(frontends) },
      web: pool(10, 17, { processes: { web: { ...web, replicas: 2 } } }),
      tried: pool(18, 29, {
        canary: { release: this.release("v2"), stages: [{ split: "50%", window: "0 seconds" }], stage: "50%" },
      }),
      "node-a": pool(30, 30),
      "node-b": pool(31, 31),
      api: {
        match: { frontends: ["stable"] },
        stable: "stable",
        candidate: "candidate",
        stages: [{ split: "100%", window: "0 seconds" }],
        stage: "100%",
      },
    };
  }

  /** Makes a pool's release one that never becomes healthy. */
  broken(): object {
    const { web } = this.args() as { web: { processes: { web: { health: object } } } };
    const process = web.processes.web;
    const health = { ...process.health, deadline: "1 second" };
    return { release: { ...this.release("v2"), id: "bad" }, processes: { web: { ...process, health } } };
  }

  release(id: string) {
    return { id, path: path.join(this.stack.folder, "releases", id) };
  }

  /** Live state, once leaving processes have left. */
  async reality(): Promise<Reality> {
    const { agent, nodes } = this.clients;
    const pools = { web: agent, tried: agent, "node-a": nodes, "node-b": nodes };
    const running = Object.entries(pools).map(async ([name, client]) => {
      await client.settle(name);
      const processes = (await client.pool(name))?.processes ?? [];
      return [name, Object.fromEntries(processes.map(({ id, pid }) => [id, pid]))] as const;
    });
    const edge = (await agent.edge("main"))?.observed;
    const committed = await Promise.all(Object.values(this.hosts).map(committedIn));
    return {
      pids: {
        ...Object.fromEntries(await Promise.all(running)),
        agents: [(await agent.about()).pid, (await nodes.about()).pid],
        haproxy: edge?.worker?.pid,
      },
      committed,
      pools: committed[0]?.pools ?? {},
    };
  }

  async must(running: Promise<Outcome>): Promise<Outcome> {
    const outcome = await running;
    if (outcome.exit === 0) return outcome;
    throw new Error(`${outcome.command} ended with ${outcome.exit}:\n${outcome.stdout}${outcome.stderr}`);
  }

  async folder(name: string): Promise<string> {
    const folder = path.join(this.stack.folder, name);
    await mkdir(folder, { recursive: true });
    return folder;
  }
}

/** A server that something else runs. */
async function answering(t: TestContext, name: string): Promise<object> {
  const server = createServer({ keepAliveTimeout: 75_000 }, (_request, response) => {
    response.setHeader("x-release", name);
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { servers: { one: { address: "127.0.0.1", port: (server.address() as AddressInfo).port } } };
}

/** The desired state that an agent has committed. */
async function committedIn(directory: string): Promise<Committed> {
  const { state } = JSON.parse(await readFile(path.join(directory, "state.json"), "utf8"));
  const { edges, backends, pools, routes } = state;
  return { edges, backends, pools, routes };
}
