import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { AgentClient } from "../../../src/agent/client/client";
import { installAgent, startAgent } from "../../../src/agent/client/launch";
import { type EdgeSpec, edgeSpec } from "../../../src/model/edge/edge";
import { type PoolInput, type PoolSpec, poolSpec } from "../../../src/model/pool/pool";
import { agentOptions } from "../../../src/model/protocol/agent";
import type { AgentEvent, Phase, StepInput } from "../../../src/model/protocol/transaction";
import { agentBundle } from "../../../src/provider/server";
import { type Load, startLoad } from "../../load/load";
import { endEverything } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { type Deployment, deploy } from "./deploy";
import { entering, nextEvent, quiet, runningAgent } from "./host";
import { promoteBy } from "./promotion";
import type { Subject } from "./whole";

export const EDGE = "main";
export const POOL = "app";
const APP = join(__dirname, "..", "..", "fixtures", "faults", "app.mjs");
/** Ports of one pool: some more than two releases side by side need. */
const PORTS = 16;
/** Requests per second; some hosts share one machine. */
const LOAD_RATE = 60;
/** A machine that has much else to do is slow, which is no failure: what gets lost ends in an error, or never. */
const LOAD_PATIENCE_MS = 60_000;
const START_DEADLINE_MS = 60_000;

/** An old singleton takes seconds to end, so that a promotion is in its middle for as long, however busy the machine is. */
export const SLOW_TO_FOLLOW: PoolInput["processes"] = {
  clock: {
    policy: "singleton",
    gracefulStop: "4 seconds",
    command: "trap '' TERM; exec sleep 1000000",
    shell: true,
  },
};

export interface WorldOptions {
  /** Makes the state folder. @default a new one below the system's folder for temporary files */
  folder?: () => Promise<{ path: string; remove: () => Promise<void> }>;
  /** Processes in place of the usual ones of their name. */
  processes?: PoolInput["processes"];
  /** Whether requests are sent all the time. @default true */
  load?: boolean;
}

/** An agent with an edge and a pool of a small app, and a load on it: the host on which faults happen. */
export class World implements Subject {
  readonly edgeName = EDGE;
  readonly poolName = POOL;
  readonly client: AgentClient;
  load: Load | undefined;
  /** Count of the releases so far; the newest one need not be the one that serves. */
  releases = 0;

  private constructor(
    readonly directory: string,
    readonly socket: string,
    readonly edgePort: number,
    private readonly firstPort: number,
    private readonly remove: () => Promise<void>,
    private readonly options: WorldOptions,
  ) {
    this.client = new AgentClient(socket);
  }

  /** Everything is ended by pid, and the folder removed, after the test at the latest. */
  static async start(t: TestContext, options: WorldOptions = {}): Promise<World> {
    const { path, remove } = await (options.folder ?? temporaryFolder)();
    const edgePort = await freePorts(1 + PORTS);
    const world = new World(path, join(path, "a.sock"), edgePort, edgePort + 1, remove, options);
    t.after(() => world.close());
    await installAgent(path, agentOptions.parse({ socket: world.socket }), agentBundle());
    await world.startAgent();
    await world.change(`edge/${EDGE}`, { verb: "edge.set", edge: EDGE, spec: world.edge });
    await world.promoteNext();
    if (options.load !== false)
      world.load = startLoad({
        host: "127.0.0.1",
        port: world.edgePort,
        mix: { rate: LOAD_RATE, connections: 6, slow: 1, websockets: 0, streams: 0 },
        slowSeconds: 1,
        timeoutMs: LOAD_PATIENCE_MS,
      });
    return world;
  }

  private closing: Promise<void> | undefined;

  close(): Promise<void> {
    this.closing ??= (async () => {
      await this.load?.stop();
      this.client.close();
      await endEverything(this.directory);
      await this.remove();
    })();
    return this.closing;
  }

  get edge(): EdgeSpec {
    return edgeSpec.parse({
      frontends: { http: { binds: [{ port: this.edgePort }], defaultBackend: POOL } },
      timeouts: { keepAlive: "5 seconds" },
    });
  }

  pool(release: string, overrides: Partial<PoolInput> = {}): PoolSpec {
    const sleeper = ["sleep", "1000000"];
    return poolSpec.parse({
      edge: EDGE,
      release: { id: release, path: dirname(APP) },
      ports: { from: this.firstPort, to: this.firstPort + PORTS - 1 },
      drainDeadline: "5 seconds",
      processes: {
        store: { policy: "service", command: sleeper },
        feeder: { policy: "companion", command: sleeper },
        web: {
          policy: "proxied",
          command: [process.execPath, APP],
          replicas: 2,
          gracefulStop: "2 seconds",
          health: { path: "/healthz", interval: "30 milliseconds" },
        },
        clock: { policy: "singleton", command: sleeper },
        ...this.options.processes,
      },
      ...overrides,
    });
  }

  startStep(release: string, overrides: Partial<PoolInput> = {}) {
    return { verb: "pool.start" as const, pool: POOL, spec: this.pool(release, overrides) };
  }

  nextRelease(): string {
    this.releases += 1;
    return `v${this.releases}`;
  }

  deploy(release: string, overrides: Partial<PoolInput> = {}): Deployment {
    return deploy(this.socket, this.startStep(release, overrides));
  }

  /** Promotes one more release, which must work. Gives its id. */
  async promoteNext(overrides: Partial<PoolInput> = {}): Promise<string> {
    const release = this.nextRelease();
    await promoteBy(this.socket, this.startStep(release, overrides));
    return release;
  }

  /** One step and its commit, from this process. */
  async change(target: `${string}/${string}`, step: StepInput): Promise<void> {
    const { id } = await this.client.begin({
      target,
      owner: { who: "test", why: "test", pid: process.pid },
      leaseMs: 60_000,
    });
    await this.client.step(id, step, () => undefined);
    await this.client.commit(id);
  }

  /** Resolves as soon as a transaction that begins after this call enters the phase. */
  async phase(phase: Phase, signal: AbortSignal): Promise<void> {
    await this.event(entering(phase, POOL), signal);
  }

  /** The first event from now on that fits. */
  event(fits: (event: AgentEvent) => boolean, signal: AbortSignal): Promise<AgentEvent> {
    return nextEvent(this.client, fits, signal);
  }

  async startAgent(): Promise<void> {
    await startAgent(this.directory, this.socket, AbortSignal.timeout(START_DEADLINE_MS));
  }

  agent(): ReturnType<typeof runningAgent> {
    return runningAgent(this.directory);
  }

  quiet(): Promise<void> {
    return quiet(this.client);
  }
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), "sl-f-"));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}
