import { setMaxListeners } from "node:events";
import type { Instance } from "../../../model/pool/pool-instances";
import type { DownReplica } from "../../../model/pool/promotion-plan";
import type { Reason } from "../../../model/process/process-state";
import { messageOf } from "../../../model/types/errors";
import type { ProcessRecord } from "../../processes/process-manager";
import { HealthNotifier } from "../health/health-notifier";
import { HealthWatch } from "../health/health-watch";
import { MemorySamples } from "../health/memory-samples";
import { MemoryWatch } from "../health/memory-watch";
import { OutputWatch } from "../health/output-watch";
import { currentLabels } from "../launch/current-labels";
import { fromLabels, type Labels, titleOf } from "../launch/labels";
import { Starter } from "../launch/starter";
import { DownServices } from "./down-services";
import { ProcessRestarter } from "./process-restarter";
import { STATE_MESSAGES } from "./process-states";
import { Restarts } from "./restarts";
import { type InstanceStatus, statusesOf } from "./status";
import { exitText, type SupervisedProcess, type SupervisionContext, subjectOf } from "./supervised-process";
import { Terminations } from "./terminations";

const START_ORDER = ["service", "companion", "proxied", "singleton"] as const;
const STOP_ORDER = ["proxied", "singleton", "companion", "service"] as const;
/** How the process host says that nothing was left of a process after a reboot: no crash of its own. */
const REBOOTED = "lost: the host rebooted";

/**
 * Keeps the wanted processes of all pools running: starts what is missing, restarts what exits, drains and stops what is
 * no longer wanted. What is wanted is set as a whole per pool; the supervisor works off the difference.
 */
export class Supervisor {
  readonly restarter: ProcessRestarter;
  private readonly supervised = new Map<string, SupervisedProcess>();
  private readonly terminations: Terminations;
  private readonly starter: Starter;
  private readonly restarts: Restarts;
  private readonly down: DownServices;
  private readonly memory: MemorySamples;
  private readonly memoryWatch: MemoryWatch;
  private readonly outputWatch: OutputWatch;
  private readonly health: HealthWatch;
  private readonly healthNotifier: HealthNotifier;
  /** Processes of which it was said that they do not come up. */
  private readonly reportedLate = new Set<string>();
  private closed = false;

  constructor(private readonly host: SupervisionContext) {
    const isCurrent = (supervised: SupervisedProcess) =>
      !this.closed && this.supervised.get(supervised.instance.id) === supervised;
    this.terminations = new Terminations(host, {
      isWanted: (id) => this.supervised.has(id),
      awaitsSuccessor: (id, labels) => labels.handoff && this.awaitsSuccessor(id, labels),
    });
    this.restarts = new Restarts(host, (supervised) => this.startLater(supervised));
    this.down = new DownServices(host, this.restarts);
    this.healthNotifier = new HealthNotifier(host);
    this.starter = new Starter(host, {
      terminations: this.terminations,
      isCurrent,
      failed: (supervised, why) =>
        this.restarts.later(supervised, { ranForMs: 0, reason: "crash", ended: `did not start: ${why}` }),
      reportLate: (supervised, why) => this.reportLate(supervised, why),
      up: (supervised) => {
        this.healthNotifier.notifyUp(supervised);
        this.health.begin(supervised);
      },
    });
    const { terminations, starter, restarts } = this;
    this.restarter = new ProcessRestarter(host, { terminations, starter, restarts, isCurrent });
    this.health = new HealthWatch(host, (supervised) => {
      // Others are shown as they are: their restart may help nobody, and their own exit is up to them.
      if (supervised.instance.template.policy === "service") this.restartByHealth(supervised, "unhealthy");
    });
    this.memory = new MemorySamples(host);
    this.memoryWatch = new MemoryWatch(host, {
      samples: this.memory,
      supervised: () => this.supervised.values(),
      cutReason: (supervised) => this.restarter.cutReason(supervised),
      restart: (supervised) => this.restartByHealth(supervised, "memory"),
    });
    this.memoryWatch.start();
    this.outputWatch = new OutputWatch(host, (id) => this.supervised.get(id)?.instance.template.output);
    this.outputWatch.start();
    host.processes.on("exit", (record) => this.exited(record));
  }

  /** Sets what should run for a pool, and why. What should not drains and stops in the background; nothing is started yet. */
  want(pool: string, instances: Instance[], reason: Reason): void {
    const wanted = new Map(instances.map((instance) => [instance.id, instance]));
    const dropped = new Map<string, SupervisedProcess>();
    for (const [id, supervised] of this.supervised) {
      if (supervised.instance.pool !== pool || wanted.has(id)) continue;
      clearTimeout(supervised.timer);
      this.supervised.delete(id);
      dropped.set(id, supervised);
    }
    const drainMs = this.host.drainMs(pool);
    for (const [id, instance] of wanted) {
      const known = this.supervised.get(id);
      const { generation: before = instance.generation } = known?.instance ?? {};
      const supervised = known ?? { instance, drainMs, reason, starting: false, turn: Promise.resolve() };
      if (known === undefined) this.add(supervised);
      else Object.assign(supervised, { instance, drainMs });
      if (before < instance.generation && this.down.has(supervised)) this.startFrom(supervised, reason);
      if (this.belongsToUndone(instance) || this.down.isUndone(supervised)) this.replaceUndone(supervised);
      else this.terminations.cancel(id);
    }
    for (const { id, labels } of this.unwanted(pool)) {
      const supervised = dropped.get(id);
      // How it stops may have been changed since it was started.
      this.terminations.start(id, (supervised && currentLabels(supervised, this.host)) ?? labels, { reason });
    }
    this.forgetUnknown(pool, wanted);
  }

  private add(supervised: SupervisedProcess): void {
    const { id } = supervised.instance;
    this.supervised.set(id, supervised);
    const record = this.host.processes.get(id);
    if (!this.terminations.has(id) && record?.adopted === true) this.adopt(supervised, record);
    else if (record === undefined) this.resume(supervised);
  }

  /** Goes on with a process that an earlier agent had started. */
  private adopt(supervised: SupervisedProcess, record: ProcessRecord): void {
    const { processStates } = this.host;
    const { instance } = supervised;
    const state = processStates.get(instance.id);
    const subject = subjectOf(instance);
    if (record.state === "exited") {
      processStates.exited(instance.id, record);
      if (record.exit?.reason === REBOOTED || state?.leaving !== undefined) {
        processStates.remember(instance.id, { state: "stopped", history: [], leaving: undefined });
        supervised.reason = state?.leaving?.reason ?? "adopted";
      } else if (state?.state === "running" || state?.state === "starting") this.crashed(supervised, record);
      else this.resume(supervised);
      return;
    }
    const again = state?.leaving;
    if (again !== undefined && (again.again || again.quieted || state?.state === "stopping")) {
      processStates.adopt(subject, state?.state ?? "stopping", { pid: record.pid });
      this.restartByHealth(supervised, again.reason);
      return;
    }
    processStates.adopt(subject, state?.state === "starting" ? "starting" : "running", { pid: record.pid });
    if (again !== undefined) processStates.remember(instance.id, { leaving: undefined });
    supervised.notReady = state?.state === "starting";
    if (supervised.notReady) this.starter.watch(supervised);
    else this.health.begin(supervised);
    if (!supervised.notReady)
      void this.starter
        .backOnEdge(supervised, new AbortController().signal)
        .catch((error) => this.report(supervised, error));
  }

  /** Goes on with a start that an earlier agent had planned; a process that has failed stays so. */
  private resume(supervised: SupervisedProcess): void {
    const { processStates } = this.host;
    const state = processStates.get(supervised.instance.id);
    if (state === undefined) return;
    if (state.state === "backoff") this.restarts.resume(supervised, state.dueAt);
    // Without a process: the agent ended between two steps.
    else if (state.state !== "failed")
      processStates.remember(supervised.instance.id, { state: "stopped", leaving: undefined });
  }

  /** Forgets states of a pool's processes that neither run nor are wanted. */
  private forgetUnknown(pool: string, wanted: ReadonlyMap<string, Instance>): void {
    for (const id of this.host.processStates.ids())
      if (id.startsWith(`${pool}.`) && !wanted.has(id) && this.host.processes.get(id) === undefined)
        this.host.processStates.forget(id);
  }

  /**
   * Whether a service was started from a release that is undone: it runs under the same id for all releases. Numbers only
   * grow, so that a running one is older than what is wanted, and may be, unless that release is no more.
   */
  private belongsToUndone({ id, template, generation }: Instance): boolean {
    const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
    return template.policy === "service" && labels !== undefined && labels.generation > generation;
  }

  /** Lets a service that is down start from its new template: vain starts of the old one end first. */
  private startFrom(supervised: SupervisedProcess, reason: Reason): void {
    this.down.setAside(supervised);
    this.health.end(supervised.instance.id);
    supervised.reason = reason;
    this.endFormer(supervised, reason);
    // A start from the old template may be under way, and what follows would take its process for the new one.
    supervised.turn = supervised.turn.then(() => this.endFormer(supervised, reason));
  }

  /** Stops what was started from an older template. */
  private endFormer({ instance: { id, generation } }: SupervisedProcess, reason: Reason): void {
    const { state, labels = {} } = this.host.processes.get(id) ?? {};
    const startedBy = fromLabels(labels)?.generation;
    if (state === "running" && startedBy !== undefined && startedBy < generation) this.end(id, reason);
  }

  /** Stops a process, and lets a service be down that was; the start of what is missing, which follows, waits for that. */
  private replaceUndone(supervised: SupervisedProcess): void {
    const { id } = supervised.instance;
    this.end(id, "undo");
    const gone = this.terminations.ended(id).then(() => this.down.putBack(supervised));
    supervised.turn = Promise.allSettled([supervised.turn, gone]);
  }

  /** Stops a process that is to run again. */
  private end(id: string, reason: Reason): void {
    const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
    if (labels !== undefined && !this.terminations.has(id))
      this.terminations.start(id, labels, { reason, again: true });
  }

  private awaitsSuccessor(id: string, { pool, process }: Labels): boolean {
    return this.supervisedOf(pool).some(
      ({ instance, notReady }) =>
        instance.process === process &&
        instance.id !== id &&
        instance.template.handoff &&
        (notReady === true || this.host.processes.get(instance.id)?.state !== "running"),
    );
  }

  private unwanted(pool: string): { id: string; labels: Labels }[] {
    const found = this.host.processes.list().flatMap(({ id, labels: raw }) => {
      const labels = fromLabels(raw);
      return labels?.pool === pool && !this.supervised.has(id) && !this.terminations.has(id) ? [{ id, labels }] : [];
    });
    return found.toSorted((a, b) => STOP_ORDER.indexOf(a.labels.policy) - STOP_ORDER.indexOf(b.labels.policy));
  }

  /**
   * Starts a pool's missing processes in order: services, companions, proxied, singletons.
   *
   * @param strict of these the first that does not come up fails the call (with its last output); others are retried in
   *   the background
   * @param staggered whether only some come up at once, over all pools
   */
  async ensure(
    pool: string,
    {
      strict,
      signal,
      limited = false,
    }: { strict: (instance: Instance) => boolean; signal: AbortSignal; limited?: boolean },
  ): Promise<void> {
    for (const policy of START_ORDER) {
      const tier = this.supervisedOf(pool).filter(({ instance }) => instance.template.policy === policy);
      const failed = new AbortController();
      const tierSignal = AbortSignal.any([signal, failed.signal]);
      // Each of its processes listens.
      setMaxListeners(0, tierSignal);
      const starts = tier.map((supervised) =>
        this.starter
          .ensure(supervised, strict(supervised.instance), tierSignal, limited)
          .catch((error: unknown) => failed.abort(error)),
      );
      await Promise.all(starts);
      tierSignal.throwIfAborted();
    }
  }

  /** Services of a pool that are down. */
  downServices(pool: string): DownReplica[] {
    return this.down.among(this.supervisedOf(pool));
  }

  /** The processes that should run of a pool, in no order. */
  supervisedOf(pool: string): SupervisedProcess[] {
    return [...this.supervised.values()].filter(({ instance }) => instance.pool === pool);
  }

  /** The waits for a pool's processes to become ready; each resolves once that one is up, or did not come up. */
  pendingReadiness(pool: string): Promise<void>[] {
    return this.supervisedOf(pool).flatMap(({ readiness }) => readiness?.catch(() => undefined) ?? []);
  }

  /**
   * Processes of a pool that should run and are not up, each with its state: `web#0 of pool web (release v1) is
   * starting`.
   */
  notReadyText(pool: string): string[] {
    return this.supervisedOf(pool).flatMap(({ instance }) => {
      const state = this.host.processStates.state(instance.id);
      return state === "running" ? [] : [`${titleOf(subjectOf(instance))} ${STATE_MESSAGES[state]}`];
    });
  }

  private startLater(supervised: SupervisedProcess): void {
    if (this.closed || this.supervised.get(supervised.instance.id) !== supervised) return;
    this.starter.ensure(supervised, false, new AbortController().signal).catch((error: unknown) => {
      this.restarts.later(supervised, {
        ranForMs: 0,
        reason: "crash",
        ended: `could not be started: ${messageOf(error)}`,
      });
    });
  }

  private exited(record: ProcessRecord): void {
    this.memory.forget(record.id);
    this.memoryWatch.forget(record.id);
    this.health.end(record.id);
    this.reportedLate.delete(record.id);
    const supervised = this.supervised.get(record.id);
    if (this.closed) return;
    if (supervised !== undefined || this.terminations.has(record.id)) this.host.processStates.exited(record.id, record);
    if (supervised === undefined || supervised.starting || this.terminations.has(record.id)) return;
    this.crashed(supervised, record);
  }

  private crashed(supervised: SupervisedProcess, record: ProcessRecord): void {
    const endedAt = record.exit === undefined ? Date.now() : Date.parse(record.exit.at);
    const ranForMs = endedAt - Date.parse(record.startedAt);
    const data = { exit: record.exit };
    this.healthNotifier.notifyDown(supervised);
    this.restarts.later(supervised, { ranForMs, reason: "crash", ended: exitText(record), data });
  }

  /** Restarts a process that runs, in the background. */
  private restartByHealth(supervised: SupervisedProcess, reason: Reason): void {
    this.health.end(supervised.instance.id);
    this.restarter.restart(supervised, reason).catch((error: unknown) => this.report(supervised, error));
  }

  /** A process that nobody waits for is not healthy within its deadline: a service is tried again, others may come up yet. */
  private reportLate(supervised: SupervisedProcess, why: string): void {
    const { template, id } = supervised.instance;
    if (template.policy === "service") this.restartByHealth(supervised, "unhealthy");
    else this.starter.watch(supervised);
    const message = this.reportedLate.has(id);
    this.reportedLate.add(id);
    if (!message) this.host.events.emit(why, { ...subjectOf(supervised.instance) });
  }

  private report({ instance }: SupervisedProcess, error: unknown): void {
    const subject = subjectOf(instance);
    this.host.events.emit(`${titleOf(subject)}: ${messageOf(error)}`, { ...subject });
  }

  /** Waits until nothing of a pool that is not wanted runs any more. */
  async settled(pool: string): Promise<void> {
    await this.terminations.allEnded((_, labels) => labels.pool === pool);
  }

  async status(pool: string): Promise<InstanceStatus[]> {
    const statuses = statusesOf(pool, this.host, this.supervised.values());
    const memory = await this.memory.of(statuses.map(({ id }) => id));
    return statuses.map((status) => ({
      ...status,
      memoryBytes: memory.get(status.id),
      health: this.health.of(status.id),
    }));
  }

  /** Ports that processes of this host hold, including those which are draining. */
  heldPorts(): { port: number; labels: Labels }[] {
    return this.host.processes.list().flatMap(({ labels: raw, state }) => {
      const labels = fromLabels(raw);
      return state !== "exited" && labels?.port !== undefined ? [{ port: labels.port, labels }] : [];
    });
  }

  /** The port that a process still holds, also while it drains. */
  portOf(wanted: Pick<Labels, "pool" | "key" | "generation">): number | undefined {
    const held = this.heldPorts().find(
      ({ labels: { pool, key, generation } }) =>
        pool === wanted.pool && key === wanted.key && generation === wanted.generation,
    );
    return held?.port;
  }

  /** Highest generation of a pool of which a process is still known here; 0 where there is none. */
  newestGeneration(pool: string): number {
    return this.host.processes.list().reduce((newest, { labels: raw }) => {
      const labels = fromLabels(raw);
      return labels?.pool === pool ? Math.max(newest, labels.generation) : newest;
    }, 0);
  }

  /** Stops watching and restarting; processes run on. */
  close(): void {
    this.closed = true;
    this.terminations.close();
    this.memoryWatch.close();
    this.outputWatch.close();
    this.health.close();
    for (const { timer } of this.supervised.values()) clearTimeout(timer);
  }
}
