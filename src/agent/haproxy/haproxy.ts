import type { EdgeSpec } from "../../model/edge/edge";
import type { EdgeBackend } from "../../model/pool/pool-share";
import type { RouteSpec } from "../../model/route/route";
import { Mutex, waitFor } from "../../support/waiting";
import { singleFlight } from "../support/single-flight";
import { Applier, type SocketAddress, type WantedConfig } from "./applier";
import type { ApplyPlan } from "./apply-plan";
import { validateText } from "./config/config-file";
import { waitingSocket } from "./config/render";
import { haproxyVersion } from "./config/version";
import { DrainLoop } from "./drain-loop";
import { EdgeFiles } from "./edge-files";
import type { ErrorShare } from "./error-shares";
import type { EdgeObservation } from "./observation";
import { Observer, UP_DEADLINE_MS, UP_PAUSE_MS } from "./observer";
import type { HaproxyOptions } from "./options";
import type { BackendTotals } from "./runtime/backend-totals";
import { advance } from "./runtime/drains";
import { endOrphanWorkers } from "./runtime/orphan-workers";
import { type ResponseCounts, responseCountsOf } from "./runtime/response-counts";
import { change } from "./runtime/runtime-api";
import { type DrainingServer, path, withinDrain } from "./runtime/server-assignments";
import { streams } from "./runtime/worker-set";

/** Pause between two checks of a HAProxy that stops, in milliseconds. */
const STOP_PAUSE_MS = 20;
/** Time that workers have to end after SIGTERM, in milliseconds. */
const TERM_MS = 1000;

/** The HAProxy of one edge. */
export class Haproxy {
  private readonly id: string;
  private readonly files: EdgeFiles;
  private readonly observer: Observer;
  private readonly applier: Applier;
  private readonly applyWanted: () => Promise<ApplyPlan>;
  private wanted: WantedConfig | undefined;
  private readonly changes = new Mutex();
  private readonly drains: DrainLoop;

  constructor(private readonly options: HaproxyOptions) {
    const { name } = options;
    this.id = `edge.${name}`;
    this.files = new EdgeFiles(options);
    this.observer = new Observer(this.id, this.files, options);
    this.applier = new Applier(this.id, this.files, this.observer, options);
    this.drains = new DrainLoop({
      step: () => this.changes.run(() => this.advanceDrains()),
      failed: (error) => {
        options.log(`edge ${name}: draining servers could not be supervised: ${(error as Error).message}`);
      },
    });
    this.applyWanted = singleFlight(() => this.changes.run(() => this.applyOnce()));
  }

  /** Plans an `apply` and its reasons; changes nothing. */
  async plan(
    spec: EdgeSpec,
    backends: Record<string, EdgeBackend>,
    routes: Record<string, RouteSpec> = {},
  ): Promise<ApplyPlan> {
    // In the middle of an apply, files and worker differ.
    await this.changes.idle();
    const { how, reasons } = await this.applier.planFor({ spec, backends, routes });
    return { how, reasons };
  }

  /**
   * Drives HAProxy to exactly this: the files on disk first, then what runs. Idempotent; corrects drift. Of calls at
   * the same time the last wanted state wins, and each resolves after a pass that began after it.
   *
   * @param options.shared addresses on which somebody else listens who lets others do so, too
   * @throws where HAProxy refuses the config, or an address is taken; what ran and its files then stay
   */
  async apply(
    spec: EdgeSpec,
    backends: Record<string, EdgeBackend>,
    routes: Record<string, RouteSpec> = {},
    { shared = [] }: { shared?: readonly SocketAddress[] } = {},
  ): Promise<ApplyPlan> {
    this.wanted = { spec, backends, routes, shared };
    return this.applyWanted();
  }

  /** Lets HAProxy check the config that `apply` would write. Throws HAProxy's own message with the lines that it names. */
  async check(
    spec: EdgeSpec,
    backends: Record<string, EdgeBackend>,
    routes: Record<string, RouteSpec> = {},
  ): Promise<void> {
    const { rendered } = await this.applier.planFor({ spec, backends, routes });
    await haproxyVersion(this.options.binary);
    await validateText(this.options.binary, rendered);
  }

  /** Observes HAProxy now. Calls at the same time share one observation, which began after them. */
  async observe(): Promise<EdgeObservation> {
    const seen = await this.observer.observe();
    if (seen.file === "ours" || !seen.running) return seen;
    // In the middle of an apply, the files differ from each other.
    await this.changes.idle();
    return this.observer.observe();
  }

  /** Writes files of the edge again that were deleted, see {@link Applier.restoreFiles}. */
  async restoreFiles(): Promise<string[]> {
    return (await this.files.isAnyMissing()) ? this.changes.run(() => this.applier.restoreFiles()) : [];
  }

  /** Connections of all workers to the server at an address, see {@link Observer.connections}. */
  connections(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }> {
    return this.observer.connections(address, port);
  }

  /** Reads the current worker's response counters of a server; a reload begins anew. */
  responseCounts(backend: string, id: string): Promise<ResponseCounts> {
    return responseCountsOf(this.files.sockets.worker, backend, id);
  }

  /** Totals of the backends, see {@link Observer.totals}. */
  totals(): Promise<Map<string, BackendTotals>> {
    return this.observer.totals();
  }

  /** Backends that answered a considerable share of the last minute's requests with a status from 500. */
  errorShares(): Record<string, ErrorShare> {
    return this.observer.runs() ? this.observer.errorShares.considerable() : {};
  }

  /** Cuts at once the connections of draining servers at an address. Resolves when none is left, or none can be cut. */
  async cut(address: string, port: number): Promise<void> {
    await this.changes.run(async () => {
      const record = await this.files.record();
      const matches = (server: { address: string; port: number }) => server.address === address && server.port === port;
      if (record === undefined || !record.leaving.some(matches)) return;
      const leaving = record.leaving.map((server) => (matches(server) ? { ...server, deadline: 0 } : server));
      await this.files.save({ ...record, leaving });
      const isCut = async () =>
        !(await this.advanceDrains()).some(matches) ||
        (await this.observer.connections(address, port)).connections === 0;
      if (await waitFor(isCut, { everyMs: UP_PAUSE_MS, deadlineMs: UP_DEADLINE_MS })) return;
      throw new Error(
        `connections to ${address}:${port} could not be cut within ${UP_DEADLINE_MS} ms: stop its process`,
      );
    });
  }

  /**
   * Says that what listens at an address is gone, or back, before HAProxy's own checks find out; they go on, and have the last
   * word. A worker that starts meanwhile may miss it.
   */
  async notifyHealth(address: string, port: number, health: "up" | "down"): Promise<void> {
    const servers =
      (await this.files.record())?.placed.filter((one) => one.address === address && one.port === port) ?? [];
    if (servers.length === 0 || !this.observer.runs()) return;
    await change(
      this.files.sockets.worker,
      servers.map((server) => `set server ${path(server)} health ${health}`),
    );
  }

  /**
   * Ends HAProxy for good: it takes nothing new, finishes its requests and WebSockets, up to `graceMs`, and is then
   * killed; its files go with it. Tolerates absence.
   */
  async stop({ graceMs }: { graceMs: number }): Promise<void> {
    await this.changes.run(async () => {
      this.close();
      this.wanted = undefined;
      const { processes } = this.options;
      const pid = processes.get(this.id)?.pid;
      if (this.observer.runs() && pid !== undefined && graceMs > 0) {
        process.kill(pid, "SIGUSR1");
        // Its own end would also wait for idle client connections, which no request comes on any more.
        const isIdle = async () => !this.observer.runs() || (await streams(this.files.sockets.master)) === 0;
        await waitFor(isIdle, { everyMs: STOP_PAUSE_MS, deadlineMs: graceMs });
      }
      if (processes.get(this.id) !== undefined) {
        await processes.stop(this.id, { signal: "SIGTERM", graceMs: TERM_MS });
        await processes.remove(this.id);
      }
      await endOrphanWorkers(this.files.config, (pid) => processes.owns(pid));
      await this.files.remove();
    });
  }

  /** Goes on with what an earlier agent left: servers that drain go on draining. */
  async adopt(): Promise<void> {
    const record = await this.files.record();
    if (record !== undefined && record.leaving.length > 0) this.drains.start();
  }

  /** Stops looking after servers that leave; HAProxy runs on. */
  close(): void {
    this.drains.stop();
  }

  /**
   * Socket of a frontend that has no address yet.
   *
   * @param index of the frontend among the names in their order
   */
  waitingSocket(index: number): string {
    return waitingSocket(this.files.sockets.worker, index);
  }

  /** Whether its HAProxy runs, as far as is known. */
  runs(): boolean {
    return this.observer.runs();
  }

  private async applyOnce(): Promise<ApplyPlan> {
    if (this.wanted === undefined) return { how: "nothing", reasons: [] };
    const { drains, ...plan } = await this.applier.apply(this.wanted);
    if (drains) this.drains.start();
    return plan;
  }

  /** One step for those that leave; resolves with those that have not left yet. */
  private async advanceDrains(): Promise<DrainingServer[]> {
    const [record, workers] = await Promise.all([this.files.record(), this.observer.workers()]);
    if (record === undefined || record.leaving.length === 0) return [];
    const { log } = this.options;
    const now = Date.now();
    const due = record.leaving.map((server) => withinDrain(server, record.backends[server.backend], now));
    const leaving = workers === undefined ? [] : await advance(due, workers, this.files.sockets, { now, log });
    await this.files.save({ ...record, leaving });
    return leaving;
  }
}
