import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { AgentClient } from "../../../../src/agent/client/client";
import type { PoolInput } from "../../../../src/model/pool/pool";
import type { AgentEvent } from "../../../../src/model/protocol/transaction";
import { type Cleanup, startTestAgent, type TestAgent } from "../../../support/agent";
import { freePorts } from "../../../support/ports";
import { change, OWNER } from "../../../support/transaction";

const APP = join(__dirname, "../../../fixtures/pools/app.cjs");
/** Ports of a pool's range: enough for two releases of a few processes. */
const RANGE = 8;

export type Processes = PoolInput["processes"];
export type ProcessInput = Processes[string];

/** The program of all processes in these tests, as `test/fixtures/pools/app.cjs` describes it. */
export function app(env: Record<string, string> = {}, over: Partial<ProcessInput> = {}): ProcessInput {
  return {
    policy: "companion",
    command: [process.execPath, "app.cjs"],
    env,
    gracefulStop: "500 milliseconds",
    ...over,
  };
}

/** The proxied process. */
export function web(env: Record<string, string> = {}, over: Partial<ProcessInput> = {}): ProcessInput {
  return app(env, {
    policy: "proxied",
    health: { path: "/healthz", interval: "20 milliseconds", deadline: "10 seconds" },
    ...over,
  });
}

/** An agent that several tests share, each with pools of its own on an edge of its own. */
export interface PoolAgent extends TestAgent {
  /** Everything that has happened, oldest first. */
  events: AgentEvent[];
  pool(name: string): Promise<TestPool>;
  release(id: string): Promise<{ id: string; path: string }>;
}

export async function startPoolAgent(t: Cleanup, options?: Parameters<typeof startTestAgent>[1]): Promise<PoolAgent> {
  const agent = await startTestAgent(t, options);
  const events: AgentEvent[] = [];
  const follow = new AbortController();
  t.after(() => follow.abort());
  const following = (async () => {
    for await (const event of agent.client.events(follow.signal)) events.push(event);
  })();
  following.catch(() => undefined);
  const placed = new Map<string, Promise<{ id: string; path: string }>>();
  const place = async (id: string) => {
    const path = join(agent.directory, "srv", id);
    await mkdir(path, { recursive: true });
    await copyFile(APP, join(path, "app.cjs"));
    return { id, path };
  };
  // Once each: a program that is written anew while another test starts it would be empty, and exit with 0.
  const release = (id: string) => {
    const known = placed.get(id) ?? place(id);
    placed.set(id, known);
    return known;
  };
  return {
    ...agent,
    events,
    release,
    pool: async (name) => {
      const first = await freePorts(RANGE + 1);
      const pool = new TestPool(name, { client: agent.client, edgePort: first, release });
      await change(agent.client, `edge/${name}`, [
        {
          verb: "edge.set",
          edge: name,
          spec: { frontends: { http: { binds: [{ port: first }], defaultBackend: name } } },
        },
      ]);
      return pool;
    },
  };
}

export class TestPool {
  readonly url: string;
  readonly ports: { from: number; to: number };
  private readonly client: AgentClient;

  constructor(
    readonly name: string,
    private readonly parts: {
      client: AgentClient;
      edgePort: number;
      release: (id: string) => Promise<{ id: string; path: string }>;
    },
  ) {
    const { edgePort, client } = parts;
    this.url = `http://127.0.0.1:${edgePort}`;
    this.ports = { from: edgePort + 1, to: edgePort + RANGE };
    this.client = client;
  }

  get edgePort(): number {
    return this.parts.edgePort;
  }

  async spec(release: string, processes: Processes, over: Partial<PoolInput> = {}): Promise<PoolInput> {
    return {
      edge: this.name,
      release: await this.parts.release(release),
      ports: this.ports,
      processes,
      drainDeadline: "5 seconds",
      ...over,
    };
  }

  /** Opens a transaction on the pool and starts a release; the caller goes on from there. */
  async start(release: string, processes: Processes, over: Partial<PoolInput> = {}): Promise<string> {
    const spec = await this.spec(release, processes, over);
    const { id } = await this.client.begin({ target: `pool/${this.name}`, owner: OWNER, leaseMs: 60_000 });
    try {
      await this.client.step(id, { verb: "pool.start", pool: this.name, spec }, () => undefined);
    } catch (error) {
      await this.client.abort(id, "the start failed");
      throw error;
    }
    return id;
  }

  /** Promotes a release as the provider does, and waits until what it replaced is gone, unless told otherwise. */
  async promote(
    release: string,
    processes: Processes,
    { settle = true, ...over }: Partial<PoolInput> & { settle?: boolean } = {},
  ): Promise<void> {
    const spec = await this.spec(release, processes, over);
    await change(this.client, `pool/${this.name}`, [
      { verb: "pool.start", pool: this.name, spec },
      { verb: "pool.switch", pool: this.name },
      { verb: "pool.follow", pool: this.name },
    ]);
    if (settle) await this.client.settle(this.name);
  }

  /** Its processes by key and release, such as `web#0@v1`, without what changes by itself. */
  async processes(): Promise<Map<string, { pid?: number | undefined; port?: number | undefined; state: string }>> {
    const { processes = [] } = (await this.client.pool(this.name)) ?? {};
    return new Map(
      processes.map(({ uptimeMs: _u, memoryBytes: _m, reason: _r, health: _h, ...each }) => [
        `${each.key}@${each.release}`,
        each,
      ]),
    );
  }

  async get(path = "/"): Promise<string> {
    return (await fetch(`${this.url}${path}`)).text();
  }
}
