import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { milliseconds } from "../../model/duration";
import { collide, type EdgeSpec, type Listener, listensOn } from "../../model/edge";
import type { EdgeBackend } from "../../model/pool-share";
import type { RouteSpec } from "../../model/route";
import { PRIVATE_FOLDER_MODE, writeFileAtomic } from "../files";
import { SCRIPT_FILE } from "../mirror/script";
import type { ProcessHost } from "../processes/host";
import { singleFlight } from "../single-flight";
import { type Answers, answersOf } from "./answers";
import { ask, change } from "./cli";
import { certificateDigests, readConfig, structureOf, validateText } from "./config-file";
import { decide, type Plan, withUnknown } from "./decide";
import { DrainLoop } from "./drain-loop";
import { advance } from "./drains";
import { fleetMends } from "./drift";
import { clients, type Fleet, fleetSnapshot, type Sockets, streams, useOf } from "./fleet";
import { hostFacts } from "./host-facts";
import { reload } from "./master";
import { type EdgeObservation, observation } from "./observation";
import { assertFree } from "./ports";
import { type EdgeRecord, readRecord, writeRecord } from "./record";
import { isUntouched, type Rendered, render, waitingSocket } from "./render";
import { SPLITS_FILE } from "./routes";
import { type Leaving, type Placement, path, place } from "./servers";
import { workerSnapshot } from "./snapshot";
import { endStrays } from "./strays";
import { complaints } from "./validate";
import { haproxyVersion } from "./version";
import { backendWeights } from "./weights";

/** Time until a started or reloaded HAProxy must answer, in milliseconds. */
const UP_DEADLINE_MS = 15_000;
const UP_PAUSE_MS = 5;
/** Time that an ended predecessor may still hold the edge's ports, in milliseconds. */
const PORT_WAIT_MS = 2000;
/** Rounds of mending until something that keeps coming back is an error. */
const MEND_ROUNDS = 3;
/** HAProxy tells times in whole seconds. */
const CLOCK_SLACK_MS = 2000;
/** Longest path of a Unix socket, and what HAProxy appends to it while it binds (`.<pid>.tmp`). */
const SOCKET_PATH_MAX = 107;
const SOCKET_SUFFIX = 12;
const TAIL_LINES = 200;
/** Pause between two looks at a HAProxy that stops, in milliseconds. */
const STOP_PAUSE_MS = 20;
/** Time that workers have to end after SIGTERM, in milliseconds. */
const TERM_MS = 1000;

export interface HaproxyOptions {
  /** Name of the edge. */
  name: string;
  /** The edge's folder: config, sockets and record. Created where it is missing. */
  directory: string;
  processes: Pick<ProcessHost, "launch" | "stop" | "get" | "remove" | "tail">;
  /** Path of HAProxy, 2.6 or newer. */
  binary: string;
  /** Path of the mirror's socket. Needed where a route has a mirror or a sample. */
  mirror?: string | undefined;
  log: (message: string, data?: object) => void;
}

interface Wanted {
  spec: EdgeSpec;
  backends: Record<string, EdgeBackend>;
  routes: Record<string, RouteSpec>;
  /** Addresses on which somebody listens who shares them. */
  shared?: readonly Address[];
}

type Address = Pick<Listener, "address" | "port">;

interface Target extends Plan {
  fleet: Fleet | undefined;
  before: EdgeRecord | undefined;
  record: EdgeRecord;
  rendered: Rendered;
  disk: string | undefined;
  splitsOnDisk: string | undefined;
}

export type { Plan } from "./decide";

/** Path of the runtime API of an edge's HAProxy, in the edge's folder. */
export function runtimeSocket(directory: string): string {
  return join(directory, "worker.sock");
}

/** The HAProxy of one edge. */
export class Haproxy {
  private readonly id: string;
  private readonly configPath: string;
  private readonly recordPath: string;
  private readonly splitsPath: string;
  private readonly scriptPath: string;
  private readonly sockets: Sockets;
  private readonly fleet: () => Promise<Fleet | undefined>;
  private readonly observeNow: () => Promise<EdgeObservation>;
  private readonly applyWanted: () => Promise<Plan>;
  private wanted: Wanted | undefined;
  private cached: { record: EdgeRecord | undefined } | undefined;
  private turn: Promise<unknown> = Promise.resolve();
  private readonly drains: DrainLoop;

  constructor(private readonly options: HaproxyOptions) {
    const { name, directory } = options;
    this.id = `edge.${name}`;
    this.configPath = join(directory, "haproxy.cfg");
    this.recordPath = join(directory, "edge.json");
    this.splitsPath = join(directory, SPLITS_FILE);
    this.scriptPath = join(directory, SCRIPT_FILE);
    this.sockets = { worker: runtimeSocket(directory), master: join(directory, "master.sock") };
    const longest = Buffer.byteLength(this.sockets.worker) + SOCKET_SUFFIX;
    if (longest > SOCKET_PATH_MAX || directory.includes(","))
      throw new Error(
        `the folder ${directory} of edge ${name} cannot hold HAProxy's sockets: choose a state folder whose path has no comma and is ${longest - SOCKET_PATH_MAX} characters shorter`,
      );
    this.drains = new DrainLoop({
      step: () => this.inTurn(() => this.advanceDrains()),
      failed: (error) => {
        options.log(`edge ${name}: servers that leave could not be looked after: ${(error as Error).message}`);
      },
    });
    this.fleet = singleFlight(() => this.lookAtFleet());
    this.observeNow = singleFlight(() => this.look());
    this.applyWanted = singleFlight(() => this.inTurn(() => this.pass()));
  }

  /** What `apply` would do now, and why; changes nothing. */
  async plan(
    spec: EdgeSpec,
    backends: Record<string, EdgeBackend>,
    routes: Record<string, RouteSpec> = {},
  ): Promise<Plan> {
    // In the middle of an apply, files and worker differ.
    await this.turn;
    const { how, reasons } = await this.target({ spec, backends, routes });
    return { how, reasons };
  }

  /**
   * Drives HAProxy to exactly this: the files on disk first, then what runs. Idempotent; mends drift. Of calls at the same
   * time the last wanted state wins, and each resolves after a pass that began after it.
   *
   * @param options.shared addresses on which somebody else listens who lets others do so, too
   * @throws where HAProxy refuses the config, or an address is taken; what ran and its files then stay
   */
  async apply(
    spec: EdgeSpec,
    backends: Record<string, EdgeBackend>,
    routes: Record<string, RouteSpec> = {},
    { shared = [] }: { shared?: readonly Address[] } = {},
  ): Promise<Plan> {
    this.wanted = { spec, backends, routes, shared };
    return this.applyWanted();
  }

  /** Lets HAProxy check the config that `apply` would write. Throws HAProxy's own message with the lines that it names. */
  async check(
    spec: EdgeSpec,
    backends: Record<string, EdgeBackend>,
    routes: Record<string, RouteSpec> = {},
  ): Promise<void> {
    const { rendered } = await this.target({ spec, backends, routes });
    await haproxyVersion(this.options.binary);
    await validateText(this.options.binary, rendered);
  }

  /** What HAProxy reports now. Calls at the same time share one look, which began after them. */
  async observe(): Promise<EdgeObservation> {
    return this.observeNow();
  }

  /**
   * What the workers, old ones included, have on the server at an address now, and whether one may still give it new
   * requests: an old worker does so for idle client connections that it had when it was replaced, until they expire.
   */
  async usage(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }> {
    const [fleet, record] = await Promise.all([this.fleet(), this.record()]);
    if (fleet === undefined) return { connections: 0, mayReceive: false };
    const now = useOf(fleet.current, address, port);
    const idleMs = Math.max(record?.oldIdleMs ?? 0, record === undefined ? 0 : idleOf(record.spec));
    const old = fleet.old.map(({ snapshot, replacedForSeconds }) => {
      // It ended, or is about to: the next look tells.
      if (snapshot === undefined) return { connections: 0, takes: true };
      const use = useOf(snapshot, address, port);
      const mayHaveIdle = replacedForSeconds * 1000 <= idleMs + CLOCK_SLACK_MS && clients(snapshot) > 0;
      return { connections: use.connections, takes: use.takes && mayHaveIdle };
    });
    const all = [now, ...old];
    return {
      connections: all.reduce((sum, { connections }) => sum + connections, 0),
      mayReceive: all.some(({ takes }) => takes),
    };
  }

  /** What the current worker counted of a server's answers; a reload begins anew. */
  answers(backend: string, id: string): Promise<Answers> {
    return answersOf(this.sockets.worker, backend, id);
  }

  /** The weight of the servers that take requests, by backend, as the current worker has it. */
  weights(): Promise<Map<string, number>> {
    return backendWeights(this.sockets.worker);
  }

  /** Cuts at once what is left on servers at an address that leave. Resolves when nothing is, or nothing can be cut. */
  async cut(address: string, port: number): Promise<void> {
    await this.inTurn(async () => {
      const record = await this.record();
      const matches = (server: { address: string; port: number }) => server.address === address && server.port === port;
      if (record === undefined || !record.leaving.some(matches)) return;
      const leaving = record.leaving.map((server) => (matches(server) ? { ...server, deadline: 0 } : server));
      await this.save({ ...record, leaving });
      const giveUpAt = performance.now() + UP_DEADLINE_MS;
      while (performance.now() < giveUpAt) {
        if (!(await this.advanceDrains()).some(matches)) return;
        if ((await this.usage(address, port)).connections === 0) return;
        await sleep(UP_PAUSE_MS);
      }
      throw new Error(
        `what is left on ${address}:${port} could not be cut within ${UP_DEADLINE_MS} ms: stop its process`,
      );
    });
  }

  /**
   * Says that what listens at an address is gone, or back, before HAProxy's own checks find out; they go on, and have the last
   * word. A worker that starts meanwhile may miss it.
   */
  async tell(address: string, port: number, health: "up" | "down"): Promise<void> {
    const servers = (await this.record())?.placed.filter((one) => one.address === address && one.port === port) ?? [];
    if (servers.length === 0 || !this.runs()) return;
    await change(
      this.sockets.worker,
      servers.map((server) => `set server ${path(server)} health ${health}`),
    );
  }

  /**
   * Ends HAProxy for good: it takes nothing new, finishes its requests and WebSockets, up to `graceMs`, and is then
   * killed; its files go with it. Tolerates absence.
   */
  async stop({ graceMs }: { graceMs: number }): Promise<void> {
    await this.inTurn(async () => {
      this.close();
      this.wanted = undefined;
      const { processes } = this.options;
      const pid = processes.get(this.id)?.pid;
      if (this.runs() && pid !== undefined && graceMs > 0) {
        const giveUpAt = performance.now() + graceMs;
        process.kill(pid, "SIGUSR1");
        // Its own end would also wait for idle client connections, which no request comes on any more.
        while (this.runs() && performance.now() < giveUpAt && (await streams(this.sockets.master)) > 0)
          await sleep(STOP_PAUSE_MS);
      }
      if (processes.get(this.id) !== undefined) {
        await processes.stop(this.id, { signal: "SIGTERM", graceMs: TERM_MS });
        await processes.remove(this.id);
      }
      await endStrays(this.configPath);
      const { configPath, recordPath, splitsPath, scriptPath, sockets } = this;
      const frontends = Object.keys((await this.record())?.spec.frontends ?? {});
      const waiting = frontends.map((_, index) => waitingSocket(sockets.worker, index));
      const files = [configPath, recordPath, splitsPath, scriptPath, sockets.worker, sockets.master, ...waiting];
      await Promise.all(files.map((file) => rm(file, { force: true })));
      this.cached = undefined;
    });
  }

  /** Goes on with what an earlier agent left: servers that drain go on draining. */
  async adopt(): Promise<void> {
    const record = await this.record();
    if (record !== undefined && record.leaving.length > 0) this.drains.start();
  }

  /** Stops looking after servers that leave; HAProxy runs on. */
  close(): void {
    this.drains.stop();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => undefined);
    return result;
  }

  /**
   * Where a frontend listens that has no address yet.
   *
   * @param index of the frontend among the names in their order
   */
  waitingSocket(index: number): string {
    return waitingSocket(this.sockets.worker, index);
  }

  /** Whether its HAProxy runs, as far as is known. */
  runs(): boolean {
    const state = this.options.processes.get(this.id)?.state;
    return state === "running" || state === "starting";
  }

  private async look(): Promise<EdgeObservation> {
    const [fleet, disk, record] = await Promise.all([this.fleet(), readConfig(this.configPath), this.record()]);
    const state = disk === undefined ? "missing" : isUntouched(disk) ? "ours" : "edited";
    return observation(fleet, record ?? { placed: [], leaving: [] }, { state, structure: structureOf(disk) });
  }

  private async lookAtFleet(): Promise<Fleet | undefined> {
    if (!this.runs()) return undefined;
    const giveUpAt = performance.now() + UP_DEADLINE_MS;
    for (;;) {
      // The sockets refuse while HAProxy starts or its master re-executes itself; one that is killed cuts its answer off.
      let problem: unknown;
      const fleet = await fleetSnapshot(this.sockets).catch((error: unknown) => {
        problem = error;
        return undefined;
      });
      if (fleet !== undefined || !this.runs()) return fleet;
      if (performance.now() > giveUpAt)
        throw (
          problem ??
          new Error(
            `HAProxy of edge ${this.options.name} runs (pid ${this.options.processes.get(this.id)?.pid}), but does not answer on ${this.sockets.master}: stop it, so that it is started again`,
          )
        );
      await sleep(UP_PAUSE_MS);
    }
  }

  private async record(): Promise<EdgeRecord | undefined> {
    this.cached ??= { record: await readRecord(this.recordPath, this.options.log) };
    return this.cached.record;
  }

  private async save(record: EdgeRecord): Promise<void> {
    if (JSON.stringify(record) !== JSON.stringify(this.cached?.record)) await writeRecord(this.recordPath, record);
    this.cached = { record };
  }

  private async target({ spec, backends, routes }: Wanted): Promise<Target> {
    const [before, fleet, disk, splitsOnDisk, certificates] = await Promise.all([
      this.record(),
      this.fleet(),
      readConfig(this.configPath),
      readConfig(this.splitsPath),
      certificateDigests(spec),
    ]);
    const placement = withUnknown(place(backends, before ?? NOBODY, Date.now()), backends, fleet);
    const rendered = render({
      name: this.options.name,
      spec,
      backends,
      placed: placement.placed,
      routes,
      socket: this.sockets.worker,
      host: hostFacts(),
      mirror: this.options.mirror,
      certificates,
    });
    const record: EdgeRecord = { version: 1, spec, backends, routes, ...placement, oldIdleMs: before?.oldIdleMs ?? 0 };
    const plan = decide({ before, fleet, record, rendered, disk, splitsOnDisk, certificates });
    return { ...plan, fleet, before, record, rendered, disk, splitsOnDisk };
  }

  private async pass(): Promise<Plan> {
    if (this.wanted === undefined) return { how: "nothing", reasons: [] };
    const { name, log } = this.options;
    await mkdir(this.options.directory, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const target = await this.target(this.wanted);
    const { how, reasons } = target;
    const isOwn = (listener: Address) => !(this.wanted?.shared ?? []).some((other) => collide(listener, other));
    if (how === "start") await this.start(target, isOwn);
    else if (how === "reload") await this.reload(target, isOwn);
    else {
      await this.save(target.record);
      await this.write(target.rendered, target);
    }
    if (how !== "nothing") {
      await this.mend();
      log(`edge ${name}: ${how}`, { reasons });
    }
    if (target.record.leaving.length > 0) this.drains.start();
    return { how, reasons };
  }

  /** Writes what differs from what is on disk: the files first that the config names. */
  private async write(
    { text, splits, script }: Omit<Rendered, "structure" | "script"> & Partial<Pick<Rendered, "script">>,
    on: { disk?: string | undefined; splitsOnDisk?: string | undefined } = {},
  ): Promise<void> {
    if (script !== undefined && text !== on.disk) await writeFileAtomic(this.scriptPath, script, 0o600);
    if (splits !== undefined && splits !== on.splitsOnDisk) await writeFileAtomic(this.splitsPath, splits, 0o600);
    if (text !== on.disk) await writeFileAtomic(this.configPath, text, 0o600);
  }

  private async start(
    { record, rendered, disk, splitsOnDisk, before }: Target,
    isOwn: (listener: Address) => boolean,
  ): Promise<void> {
    const { binary, directory, name, processes, log } = this.options;
    await haproxyVersion(binary);
    await validateText(binary, rendered);
    const strays = await endStrays(this.configPath);
    if (strays.length > 0)
      log(`edge ${name}: processes of an earlier HAProxy were left and are killed`, { pids: strays });
    await assertFree(listensOn(record.spec).filter(isOwn), { waitMs: PORT_WAIT_MS });
    await this.save({ ...record, leaving: [], oldIdleMs: 0 });
    await this.write(rendered);
    if (processes.get(this.id) !== undefined) await processes.remove(this.id);
    await processes.launch(this.id, {
      argv: [binary, "-W", "-S", `${this.sockets.master},mode,600,level,admin`, "-f", this.configPath],
      cwd: directory,
      env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
      labels: { edge: name },
    });
    try {
      await this.untilWorkerRuns(rendered.structure);
    } catch (error) {
      const said = complaints((await processes.tail(this.id, { lines: TAIL_LINES })).join("\n"));
      await processes.stop(this.id, { signal: "SIGTERM", graceMs: 0 });
      await processes.remove(this.id);
      await this.putBack(before, disk, splitsOnDisk);
      throw new Error(`HAProxy of edge ${name} did not start: ${said || (error as Error).message}`, { cause: error });
    }
  }

  private async reload(
    { record, rendered, disk, splitsOnDisk, before, fleet }: Target,
    isOwn: (listener: Address) => boolean,
  ): Promise<void> {
    const { binary, name, processes, log } = this.options;
    await validateText(binary, rendered);
    const had = before === undefined ? undefined : listensOn(before.spec);
    const added = listensOn(record.spec).filter((listener) => had?.every((other) => !collide(listener, other)));
    await assertFree(added.filter(isOwn));
    const oldIdleMs = Math.max(
      before === undefined ? 0 : idleOf(before.spec),
      fleet !== undefined && fleet.old.length > 0 ? (before?.oldIdleMs ?? 0) : 0,
    );
    await this.save({ ...record, oldIdleMs });
    await this.write(rendered);
    try {
      const { worker } = await reload(this.sockets.master, () => processes.tail(this.id, { lines: TAIL_LINES }));
      await this.untilWorkerRuns(rendered.structure, worker?.pid);
    } catch (error) {
      await this.putBack(before, disk, splitsOnDisk);
      log(`edge ${name}: the reload failed, the config before it goes on`, { error: (error as Error).message });
      throw error;
    }
  }

  /** After a failure: what is on disk is again what runs. */
  private async putBack(
    before: EdgeRecord | undefined,
    disk: string | undefined,
    splits: string | undefined,
  ): Promise<void> {
    if (before !== undefined) await this.save(before);
    if (disk !== undefined) await this.write({ text: disk, splits });
  }

  private async untilWorkerRuns(structure: string, pid?: number): Promise<void> {
    const giveUpAt = performance.now() + UP_DEADLINE_MS;
    while (performance.now() < giveUpAt) {
      if (!this.runs()) throw new Error("it exited");
      // The old worker may still answer on the socket that both share.
      const worker = await workerSnapshot(this.sockets.worker).catch(() => undefined);
      if (
        worker !== undefined &&
        !worker.stopping &&
        worker.structure === structure &&
        (pid ?? worker.pid) === worker.pid
      )
        return;
      await sleep(UP_PAUSE_MS);
    }
    throw new Error(`it did not answer within ${UP_DEADLINE_MS} ms`);
  }

  /** Mends what the runtime API can mend, until nothing differs. */
  private async mend(): Promise<void> {
    let left: string[] = [];
    for (let round = 0; round < MEND_ROUNDS; round++) {
      const [record, fleet] = await Promise.all([this.record(), this.fleet()]);
      if (record === undefined || fleet === undefined) throw new Error(`HAProxy of edge ${this.options.name} exited`);
      const todo = fleetMends(record, fleet);
      if (todo.length === 0) return;
      for (const { commands, oldWorker } of todo) {
        if (oldWorker === undefined) await change(this.sockets.worker, commands);
        // It may end meanwhile; the next look tells whether what is left of it is as wanted.
        else
          await ask(this.sockets.master, commands.map((command) => `@!${oldWorker} ${command}`).join("; "), {
            retry: true,
          });
      }
      left = todo.map(({ reason }) => reason);
    }
    throw new Error(`HAProxy of edge ${this.options.name} does not keep what is set: ${left.join("; ")}`);
  }

  /** One step for those that leave; resolves with those that have not left yet. */
  private async advanceDrains(): Promise<Leaving[]> {
    const [record, fleet] = await Promise.all([this.record(), this.fleet()]);
    if (record === undefined || record.leaving.length === 0) return [];
    const { log } = this.options;
    const leaving =
      fleet === undefined ? [] : await advance(record.leaving, fleet, this.sockets, { now: Date.now(), log });
    await this.save({ ...record, leaving });
    return leaving;
  }
}

const NOBODY: Placement = { placed: [], leaving: [] };

/** Longest time that a client connection without a request may wait in a worker. */
function idleOf({ timeouts }: EdgeSpec): number {
  return Math.max(milliseconds(timeouts.keepAlive), milliseconds(timeouts.request));
}
