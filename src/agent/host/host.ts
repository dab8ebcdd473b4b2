import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { BackendHealth } from "../../model/edge/backend-health";
import { collide, type EdgeSpec, listensOn, withoutListeners } from "../../model/edge/edge";
import type { PoolSpec } from "../../model/pool/pool";
import { releaseOfServer } from "../../model/pool/pool-backend";
import type { Instance } from "../../model/pool/pool-instances";
import { candidateOutcome, isNewGeneration, isRollback } from "../../model/pool/pool-promotion";
import type { CandidateOutcome } from "../../model/pool/pool-share";
import type { Reason } from "../../model/process/process-state";
import type { TakeoverEntry } from "../../model/process/takeover";
import type { Declarer } from "../../model/protocol/ownership";
import type { Step } from "../../model/protocol/transaction";
import { milliseconds } from "../../model/types/duration";
import { poolOfBackend } from "../../model/types/names";
import { Mutex } from "../../support/waiting";
import type { Haproxy } from "../haproxy/haproxy";
import type { EdgeObservation } from "../haproxy/observation";
import { ProcessStates } from "../pools/supervise/process-states";
import { Supervisor } from "../pools/supervise/supervisor";
import type { Artifacts } from "../releases/artifacts";
import type { RetainedReleases } from "../releases/retained-releases";
import {
  backendsOf,
  type Desired,
  edgeAddress,
  merge,
  type Overlay,
  poolInstances,
  routesOf,
  waitsToTakeOver,
  wantedTakeover,
} from "../state/desired";
import type { Secrets } from "../state/secrets";
import type { Committed, StateFile } from "../state/state";
import { Batched, type Call } from "../support/batched";
import { refuse, takeEdgeOver, type WantedEdge } from "../takeover/edge-takeover";
import type { TakeoverMatch } from "../takeover/existing-processes";
import type { TakeoverOptions, Takeovers } from "../takeover/takeovers";
import { type Commit, committedAfter, declaredBy, ownedBy, withoutStack } from "../transactions/commit";
import { backendsHealth } from "./backend-health";
import { Haproxies, type HaproxiesParts } from "./haproxies";
import { Reconciler } from "./reconciler";

/** Time that HAProxy has to finish its requests when its edge is removed, in milliseconds. */
const EDGE_STOP_MS = 30_000;

export interface HostParts extends HaproxiesParts {
  /** Called with the desired state, before an edge converges to it. */
  desires: (desired: Desired) => void;
  /** Resolves once the mirror takes what is desired to be copied, or after some seconds without it. */
  mirrorReady: () => Promise<void>;
  /** Told that an edge's HAProxy was brought to what is wanted: it may have other workers now. */
  applied: (edge: string) => Promise<void>;
  committed: Committed;
  stateFile: StateFile;
  secrets: Secrets;
  retainedReleases: RetainedReleases;
  artifacts: Artifacts;
  takeovers: Takeovers;
}

type StateChange = (committed: Committed) => Committed;

/** Lets a change take over the existing processes that it declares. */
export interface MayTake extends TakeoverOptions {
  /** Also what was taken over before and runs again. */
  again: boolean;
}

/**
 * Everything on this host: the committed desired state, the overlays of open transactions, and the one way to bring
 * HAProxy and the processes to what the two together say.
 */
export class Host {
  readonly supervisor: Supervisor;
  readonly reconciler: Reconciler;
  private readonly processStates: ProcessStates;
  private readonly haproxies: Haproxies;
  private readonly overlays = new Map<string, Overlay>();
  /** Cached result of {@link working}, as long as it holds. */
  private merged: Desired | undefined;
  /** Writes of the committed state; each answers what went wrong after the commit point. */
  private readonly saves = new Batched<StateChange, string[]>((calls) => this.saveAll(calls));
  private readonly reservation = new Mutex();
  /** Takeovers of edges that are under way. */
  private readonly takes = new Map<string, Promise<void>>();

  constructor(private readonly parts: HostParts) {
    const { processes, events, secrets } = parts;
    this.processStates = new ProcessStates(join(parts.directory, "processes"), events);
    this.haproxies = new Haproxies(parts);
    this.supervisor = new Supervisor({
      processes,
      events,
      processStates: this.processStates,
      traffic: {
        connections: (address, port) => this.haproxies.connections(address, port),
        cut: (address, port) => this.haproxies.cut(address, port),
        notifyHealth: (address, port, health) => this.haproxies.notifyHealth(address, port, health),
        converge: async (pool) => {
          const edge = this.working().pools[pool]?.settings.edge;
          if (edge !== undefined && this.working().edges[edge] !== undefined) await this.convergeEdge(edge);
        },
        receivingPorts: (pool) => this.taking(pool),
      },
      edgeAddress: (pool) => edgeAddress(this.working(), this.working().pools[pool]?.settings.edge ?? ""),
      drainMs: (pool) => milliseconds(this.working().pools[pool]?.settings.drainDeadline ?? "1 minute"),
      secretEnv: ({ pool, generation, process, template }: Instance) =>
        secrets.of(pool, generation, process, template.secretEnv),
    });
    this.reconciler = new Reconciler(this, events);
    processes.on("exit", ({ id }) => {
      if (id.startsWith("edge.")) void this.reconciler.restart(id.slice("edge.".length));
    });
  }

  get committed(): Committed {
    return this.parts.committed;
  }

  /** The committed state with the overlays of all open transactions. */
  working(): Desired {
    this.merged ??= merge(this.parts.committed, [...this.overlays.values()]);
    return this.merged;
  }

  setOverlay(transaction: string, overlay: Overlay): void {
    this.overlays.set(transaction, overlay);
    this.merged = undefined;
  }

  dropOverlay(transaction: string): void {
    this.overlays.delete(transaction);
    this.merged = undefined;
  }

  /** Makes an overlay part of the committed state. The write is the commit point: before it nothing has changed, after it everything has. */
  async commit(transaction: Commit, overlay: Overlay): Promise<void> {
    const notes = await this.save((committed) => committedAfter(committed, overlay, transaction));
    this.dropOverlay(transaction.id);
    for (const note of notes) this.parts.events.emit(note, { transaction: transaction.id });
  }

  /** Notes which resources declare this agent. */
  async declare(declarer: Declarer): Promise<void> {
    for (const note of await this.save((committed) => declaredBy(committed, declarer))) this.parts.events.emit(note);
  }

  /** Forgets whatever belongs to a stack, and answers what that was; everything goes on as it runs. */
  async disown(stack: string): Promise<{ released: string[] }> {
    let released: string[] = [];
    const notes = await this.save((committed) => {
      released = ownedBy(committed, stack);
      return withoutStack(committed, stack);
    });
    for (const note of notes) this.parts.events.emit(note);
    if (released.length > 0)
      this.parts.events.emit(`stack ${stack} was disowned: ${released.join(", ")} belongs to nobody now`, { stack });
    return { released };
  }

  /** Writes a change of the committed state, together with those that were asked for while another one was written. */
  private save(change: StateChange): Promise<string[]> {
    return this.saves.call(change);
  }

  /** One write for all changes that wait; one that can't be made fails alone. */
  private async saveAll(calls: readonly Call<StateChange, string[]>[]): Promise<void> {
    let next = this.parts.committed;
    const taken = calls.filter(({ value: change, reject }) => {
      try {
        next = change(next);
        return true;
      } catch (error) {
        reject(error);
        return false;
      }
    });
    if (taken.length === 0) return;
    const notes = await this.parts.stateFile.save(next);
    this.parts.committed = next;
    this.merged = undefined;
    for (const { resolve } of taken) resolve(notes);
  }

  /** Runs work that finds something free and takes it: one at a time, or two transactions would take the same port. */
  reserving<T>(work: () => Promise<T>): Promise<T> {
    return this.reservation.run(work);
  }

  /** The release of a server of a pool; nothing for a server that is not a pool's, or is not known. */
  releaseOf(edge: string, backend: string, server: string): string | undefined {
    const pool = this.working().pools[poolOfBackend(backend)];
    return pool?.settings.edge === edge ? releaseOfServer(pool, server) : undefined;
  }

  /** Whether a pool's spec is more than other live settings of what it runs. */
  isNewGeneration(pool: string, spec: PoolSpec, secretNames: Record<string, string[]>): boolean {
    return isNewGeneration(this.committed.pools[pool], this.parts.secrets.split(spec, secretNames).spec);
  }

  /** The pool that a step begins, with digests for its secrets. */
  wantedPool({ spec, secrets: names, canary }: Extract<Step, { verb: "pool.start" }>) {
    const { secrets } = this.parts;
    const candidate =
      canary && secrets.split({ release: canary.release, processes: canary.processes }, canary.secrets).spec;
    return { ...secrets.split(spec, names).spec, ...(candidate !== undefined && { canary: candidate }) };
  }

  /** Outcome of a pool's candidate. */
  candidateOutcome(step: Extract<Step, { verb: "pool.start" }>): CandidateOutcome | undefined {
    const { canary, ...spec } = this.wantedPool(step);
    return candidateOutcome(this.committed.pools[step.pool], { spec, candidate: canary });
  }

  /** Resolves once the mirror takes what the working state has copied, or after some seconds without it. */
  async mirrorReady(): Promise<void> {
    this.parts.desires(this.working());
    await this.parts.mirrorReady();
  }

  get artifacts(): Artifacts {
    return this.parts.artifacts;
  }

  /** Says which releases of a step are not as they were when they served, one sentence each. */
  async changedReleases({ pool, spec, canary }: Extract<Step, { verb: "pool.start" }>): Promise<string[]> {
    const releases = [spec.release, ...(canary === undefined ? [] : [canary.release])];
    const state = this.committed.pools[pool];
    const sentences = releases.map((release) => this.retainedReleases.changed(pool, state, release));
    return (await Promise.all(sentences)).filter((each) => each !== undefined);
  }

  /** Says, in at most one sentence, that the folder of what another release would replace is gone. */
  async goneRelease({ pool, spec }: Extract<Step, { verb: "pool.start" }>): Promise<string[]> {
    const serving = this.committed.pools[pool]?.current?.release;
    if (serving === undefined || serving.path === spec.release.path) return [];
    if (await this.retainedReleases.isThere(serving)) return [];
    return [
      `the folder ${serving.path} of release ${serving.id}, which serves pool ${pool}, is gone or its path is broken: an undo keeps its processes, but none of them can start again until you put it back`,
    ];
  }

  get retainedReleases(): RetainedReleases {
    return this.parts.retainedReleases;
  }

  haproxy(edge: string): Haproxy {
    return this.haproxies.of(edge);
  }

  /** Writes files of edges again that were deleted. @returns what was done, in one sentence each */
  async restoreEdgeFiles(): Promise<string[]> {
    const edges = Object.keys(this.working().edges);
    return (await Promise.all(edges.map((edge) => this.haproxy(edge).restoreFiles()))).flat();
  }

  /** The edges that are metered, each with the path of the runtime API of its HAProxy. */
  meteredEdges(): Record<string, string> {
    const metered = Object.entries(this.working().edges).filter(([, { meter }]) => meter);
    return Object.fromEntries(metered.map(([edge]) => [edge, this.haproxies.runtimeSocketOf(edge)]));
  }

  /** Drives an edge to the working state: HAProxy's file, servers and flags, or its end. */
  async convergeEdge(edge: string, take?: MayTake): Promise<void> {
    const working = this.working();
    this.parts.desires(working);
    const haproxy = this.haproxy(edge);
    const target = `edge/${edge}`;
    // Wait until the process that gives up its port has done so.
    if (take === undefined) await this.takes.get(edge)?.catch(() => undefined);
    const wanted = this.wantedEdge(edge);
    if (wanted === undefined) {
      await haproxy.stop({ graceMs: EDGE_STOP_MS });
      this.haproxies.forget(edge);
    } else {
      const find = () => this.toTake(target, working, take);
      if (take !== undefined && wantedTakeover(working, target).length > 0) {
        const taking = takeEdgeOver(target, wanted, haproxy, this.parts.takeovers, { ...take, find });
        this.takes.set(edge, taking);
        await taking.finally(() => this.takes.delete(edge));
      } else await haproxy.apply(wanted.spec, wanted.backends, wanted.routes);
      await this.parts.applied(edge);
    }
    await this.balance(target);
  }

  /** The wanted state of an edge's HAProxy; undefined if it should not run. */
  private wantedEdge(edge: string): WantedEdge | undefined {
    const working = this.working();
    const spec = working.edges[edge];
    if (spec === undefined) return undefined;
    return {
      spec: this.waits(edge) ? this.waiting(spec, edge) : spec,
      backends: backendsOf(working, edge, this.processStates.offEdge()),
      routes: routesOf(working, edge),
    };
  }

  /** Whether the backends of an edge have servers that take requests, by what was seen of it. */
  backendsHealth(edge: string, { backends }: EdgeObservation): Record<string, BackendHealth> {
    const { committed, processStates } = this;
    return backendsHealth(edge, backends, { working: this.working(), committed, offEdge: processStates.offEdge() });
  }

  /** Whether an edge does not listen yet, since it has nothing to answer with and somebody else's ports to take. */
  waits(edge: string): boolean {
    return waitsToTakeOver(this.working(), this.committed.takenOver, edge);
  }

  /** Listeners that it already has stay. */
  private waiting(spec: EdgeSpec, edge: string): EdgeSpec {
    const { committed } = this;
    const had =
      committed.edges[edge] === undefined || waitsToTakeOver(committed, committed.takenOver, edge)
        ? []
        : listensOn(committed.edges[edge]);
    return withoutListeners(spec, (listener) => !had.some((other) => collide(listener, other)));
  }

  /** An edge as its HAProxy would have it with a spec. */
  asApplied(edge: string, spec: EdgeSpec): EdgeSpec {
    const { committed } = this;
    const desired = merge(this.working(), [{ edges: { [edge]: spec }, backends: {}, pools: {}, routes: {} }]);
    return waitsToTakeOver(desired, committed.takenOver, edge) ? this.waiting(spec, edge) : spec;
  }

  /** Existing processes that a target names. @param strict whether a unit that is not there is a mistake */
  findExisting(target: string, entries: readonly TakeoverEntry[]): Promise<TakeoverMatch[]> {
    return this.parts.takeovers.find(target, entries, { strict: this.committed.takenOver[target] === undefined });
  }

  private toTake(target: string, desired: Desired, take: MayTake | undefined): Promise<TakeoverMatch[]> {
    const taken = take?.again === true ? [] : (this.committed.takenOver[target] ?? []);
    const entries = wantedTakeover(desired, target).filter(
      (entry) => !taken.some((before) => isDeepStrictEqual(before, entry)),
    );
    return this.findExisting(target, entries);
  }

  /** Settles takeovers that are final, and restores the processes of those that are no longer wanted. */
  private async balance(target: string): Promise<void> {
    await this.parts.takeovers.settle(target, wantedTakeover(this.committed, target));
    await this.parts.takeovers.restore(target, wantedTakeover(this.working(), target));
  }

  /** Drives a pool's processes to the working state; what is not wanted leaves in the background. */
  async convergePool(
    pool: string,
    options: { strict: (instance: Instance) => boolean; signal: AbortSignal; reason?: Reason; take?: MayTake },
  ): Promise<void> {
    const working = this.working();
    const state = working.pools[pool];
    const reason = options.reason ?? (state !== undefined && isRollback(state) ? "rollback" : "deploy");
    const { current, candidate } = this.committed.pools[pool] ?? {};
    for (const { release } of [current, candidate?.generation].filter((side) => side !== undefined))
      await this.retainedReleases
        .restore(pool, this.committed.pools[pool], release)
        // It runs on without its folder, and a release that replaces it needs none of it.
        .catch((error: Error) => this.parts.events.emit(error.message, { pool }));
    const target = `pool/${pool}`;
    if (options.take !== undefined) {
      const found = await this.toTake(target, working, options.take);
      refuse(found);
      const untilStopped = await this.parts.takeovers.take(target, found, [], options.take);
      await untilStopped({ hurry: false });
      await this.parts.takeovers.assertEnded(target, found);
    }
    this.supervisor.want(pool, poolInstances(working, pool), reason);
    // After a reboot all would start at once.
    await this.supervisor.ensure(pool, { ...options, limited: reason === "adopted" });
    // Wait for the old singleton to exit, or its jobs run twice.
    if (await this.parts.takeovers.hasPending(target, wantedTakeover(working, target)))
      await this.supervisor.settled(pool);
    await this.balance(target);
  }

  /** Waits until nothing of a pool that is not wanted runs any more. */
  async settled(pool: string): Promise<void> {
    await this.reconciler.settled(pool);
    await this.supervisor.settled(pool);
  }

  /** Ports of a pool's servers that take requests now; those of a candidate can do without, since the others take theirs. */
  private async taking(pool: string): Promise<number[]> {
    const edge = this.working().pools[pool]?.settings.edge;
    if (edge === undefined || this.working().edges[edge] === undefined) return [];
    const { backends } = await this.haproxy(edge).observe();
    return Object.values(backends[pool] ?? {}).flatMap(({ port, state, weight, operational, leavingUntil }) =>
      state === "ready" && weight > 0 && operational !== "down" && leavingUntil === undefined ? [port] : [],
    );
  }

  /** Brings up or adopts everything that was committed: at the agent's start. */
  async boot(): Promise<void> {
    const { edges, pools } = this.working();
    const running = this.parts.processes
      .list()
      .flatMap(({ id }) => (id.startsWith("edge.") ? [id.slice("edge.".length)] : []));
    const owing = await this.parts.takeovers.targets();
    const owingOf = (kind: string) =>
      owing.flatMap((target) => (target.startsWith(`${kind}/`) ? [target.slice(kind.length + 1)] : []));
    const all = [...new Set([...Object.keys(edges), ...running, ...owingOf("edge")])];
    await Promise.all(all.map((edge) => this.haproxy(edge).adopt()));
    const left = [
      ...this.parts.processes.list().flatMap(({ labels }) => labels.pool ?? []),
      ...this.processStates.pools(),
    ];
    await this.parts.secrets.prune(pools);
    const names = [...new Set([...Object.keys(pools), ...left, ...owingOf("pool")])];
    // An edge that can't start (its port is taken, its certificate is gone) must keep neither the others, nor the
    // processes, nor the agent's answers waiting: it is what people then ask the agent about.
    await this.reconciler.atMostBootWait(
      all.map((edge) =>
        this.reconciler.inBackground([], () => this.reconciler.reconcile({ edges: [edge], pools: [] }, "adopted")),
      ),
    );
    await this.reconciler.atMostBootWait(
      names.map((pool) =>
        this.reconciler.inBackground([pool], () => this.reconciler.reconcile({ edges: [], pools: [pool] }, "adopted")),
      ),
    );
  }

  close(): void {
    this.reconciler.close();
    this.supervisor.close();
  }
}
