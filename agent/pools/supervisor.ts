import { setMaxListeners } from "node:events";
import type { Instance } from "../../model/pool-instances";
import type { Reason } from "../../model/process-state";
import type { DownReplica } from "../../model/promotion-plan";
import type { ProcessRecord } from "../processes/host";
import { Departures } from "./departures";
import { DownServices } from "./down-services";
import { EdgeNews } from "./edge-news";
import { HealthWatch } from "./health-watch";
import { fromLabels, type Labels, titleOf } from "./labels";
import { labelsNow } from "./labels-now";
import { SAID } from "./lives";
import { MemorySamples } from "./memory-samples";
import { MemoryWatch } from "./memory-watch";
import { OutputWatch } from "./output-watch";
import { Replacer } from "./replacer";
import { Restarts } from "./restarts";
import { exitText, messageOf, type PoolHost, type Slot, subjectOf } from "./slot";
import { Starter } from "./starter";
import { type InstanceStatus, statusesOf } from "./status";

const START_ORDER = ["service", "companion", "proxied", "singleton"] as const;
const STOP_ORDER = ["proxied", "singleton", "companion", "service"] as const;
/** How the process host says that nothing was left of a process after a reboot: no crash of its own. */
const REBOOTED = "lost: the host rebooted";

/**
 * Keeps the wanted processes of all pools running: starts what is missing, restarts what exits, drains and stops what is
 * no longer wanted. What is wanted is set as a whole per pool; the supervisor works off the difference.
 */
export class Supervisor {
  readonly replacer: Replacer;
  private readonly slots = new Map<string, Slot>();
  private readonly departures: Departures;
  private readonly starter: Starter;
  private readonly restarts: Restarts;
  private readonly down: DownServices;
  private readonly memory: MemorySamples;
  private readonly memoryWatch: MemoryWatch;
  private readonly outputWatch: OutputWatch;
  private readonly health: HealthWatch;
  private readonly news: EdgeNews;
  /** Processes of which it was said that they do not come up. */
  private readonly saidLate = new Set<string>();
  private closed = false;

  constructor(private readonly host: PoolHost) {
    const isCurrent = (slot: Slot) => !this.closed && this.slots.get(slot.instance.id) === slot;
    this.departures = new Departures(host, {
      isWanted: (id) => this.slots.has(id),
      awaitsSuccessor: (id, labels) => labels.handoff && this.awaitsSuccessor(id, labels),
    });
    this.restarts = new Restarts(host, (slot) => this.startLater(slot));
    this.down = new DownServices(host, this.restarts);
    this.news = new EdgeNews(host);
    this.starter = new Starter(host, {
      departures: this.departures,
      isCurrent,
      failed: (slot, why) =>
        this.restarts.later(slot, { ranForMs: 0, reason: "crash", ended: `did not start: ${why}` }),
      late: (slot, why) => this.late(slot, why),
      up: (slot) => {
        this.news.back(slot);
        this.health.begin(slot);
      },
    });
    const { departures, starter, restarts } = this;
    this.replacer = new Replacer(host, { departures, starter, restarts, isCurrent });
    this.health = new HealthWatch(host, (slot) => {
      // Others are shown as they are: their restart may help nobody, and their own exit is up to them.
      if (slot.instance.template.policy === "service") this.replace(slot, "unhealthy");
    });
    this.memory = new MemorySamples(host);
    this.memoryWatch = new MemoryWatch(host, {
      samples: this.memory,
      slots: () => this.slots.values(),
      cutBy: (slot) => this.replacer.cutBy(slot),
      restart: (slot) => this.replace(slot, "memory"),
    });
    this.memoryWatch.start();
    this.outputWatch = new OutputWatch(host, (id) => this.slots.get(id)?.instance.template.output);
    this.outputWatch.start();
    host.processes.on("exit", (record) => this.exited(record));
  }

  /** Sets what should run for a pool, and why. What should not drains and stops in the background; nothing is started yet. */
  want(pool: string, instances: Instance[], reason: Reason): void {
    const wanted = new Map(instances.map((instance) => [instance.id, instance]));
    const dropped = new Map<string, Slot>();
    for (const [id, slot] of this.slots) {
      if (slot.instance.pool !== pool || wanted.has(id)) continue;
      clearTimeout(slot.timer);
      this.slots.delete(id);
      dropped.set(id, slot);
    }
    const drainMs = this.host.drainMs(pool);
    for (const [id, instance] of wanted) {
      const known = this.slots.get(id);
      const { generation: before = instance.generation } = known?.instance ?? {};
      const slot = known ?? { instance, drainMs, reason, starting: false, turn: Promise.resolve() };
      if (known === undefined) this.add(slot);
      else Object.assign(slot, { instance, drainMs });
      if (before < instance.generation && this.down.has(slot)) this.startFrom(slot, reason);
      if (this.isOfUndone(instance) || this.down.isUndone(slot)) this.replaceUndone(slot);
      else this.departures.takeBack(id);
    }
    for (const { id, labels } of this.unwanted(pool)) {
      const slot = dropped.get(id);
      // How it stops may have been changed since it was started.
      this.departures.start(id, (slot && labelsNow(slot, this.host)) ?? labels, { reason });
    }
    this.forgetUnknown(pool, wanted);
  }

  private add(slot: Slot): void {
    const { id } = slot.instance;
    this.slots.set(id, slot);
    const record = this.host.processes.get(id);
    if (!this.departures.has(id) && record?.adopted === true) this.adopt(slot, record);
    else if (record === undefined) this.resume(slot);
  }

  /** Goes on with a process that an earlier agent had started. */
  private adopt(slot: Slot, record: ProcessRecord): void {
    const { lives } = this.host;
    const { instance } = slot;
    const life = lives.get(instance.id);
    const subject = subjectOf(instance);
    if (record.state === "exited") {
      lives.exited(instance.id, record);
      if (record.exit?.reason === REBOOTED || life?.leaving !== undefined) {
        lives.note(instance.id, { state: "stopped", history: [], leaving: undefined });
        slot.reason = life?.leaving?.reason ?? "adopted";
      } else if (life?.state === "running" || life?.state === "starting") this.crashed(slot, record);
      else this.resume(slot);
      return;
    }
    const again = life?.leaving;
    if (again !== undefined && (again.again || again.quieted || life?.state === "stopping")) {
      lives.adopt(subject, life?.state ?? "stopping", { pid: record.pid });
      this.replace(slot, again.reason);
      return;
    }
    lives.adopt(subject, life?.state === "starting" ? "starting" : "running", { pid: record.pid });
    if (again !== undefined) lives.note(instance.id, { leaving: undefined });
    slot.unproven = life?.state === "starting";
    if (slot.unproven) this.starter.watch(slot);
    else this.health.begin(slot);
    if (!slot.unproven)
      void this.starter.backOnEdge(slot, new AbortController().signal).catch((error) => this.say(slot, error));
  }

  /** Goes on with a start that an earlier agent had planned; a process that has failed stays so. */
  private resume(slot: Slot): void {
    const { lives } = this.host;
    const life = lives.get(slot.instance.id);
    if (life === undefined) return;
    if (life.state === "backoff") this.restarts.resume(slot, life.dueAt);
    // Nothing of it runs: the agent ended between two steps.
    else if (life.state !== "failed") lives.note(slot.instance.id, { state: "stopped", leaving: undefined });
  }

  /** Forgets lives of a pool of which there is neither a process nor a wish. */
  private forgetUnknown(pool: string, wanted: ReadonlyMap<string, Instance>): void {
    for (const id of this.host.lives.ids())
      if (id.startsWith(`${pool}.`) && !wanted.has(id) && this.host.processes.get(id) === undefined)
        this.host.lives.forget(id);
  }

  /**
   * Whether a service was started from a release that is undone: it runs under the same id for all releases. Numbers only
   * grow, so that a running one is older than what is wanted, and may be, unless that release is no more.
   */
  private isOfUndone({ id, template, generation }: Instance): boolean {
    const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
    return template.policy === "service" && labels !== undefined && labels.generation > generation;
  }

  /** Lets a service that is down start from the template that its slot has now: what is being tried in vain ends first. */
  private startFrom(slot: Slot, reason: Reason): void {
    const { id } = slot.instance;
    this.down.setAside(slot);
    this.health.end(id);
    slot.reason = reason;
    if (this.host.processes.get(id)?.state === "running") this.end(id, reason);
  }

  /** Stops a process, and lets a service be down that was; the start of what is missing, which follows, waits for that. */
  private replaceUndone(slot: Slot): void {
    const { id } = slot.instance;
    this.end(id, "undo");
    const gone = this.departures.ended(id).then(() => this.down.putBack(slot));
    slot.turn = Promise.allSettled([slot.turn, gone]);
  }

  /** Stops a process that is to run again. */
  private end(id: string, reason: Reason): void {
    const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
    if (labels !== undefined && !this.departures.has(id)) this.departures.start(id, labels, { reason, again: true });
  }

  private awaitsSuccessor(id: string, { pool, process }: Labels): boolean {
    return this.slotsOf(pool).some(
      ({ instance, unproven }) =>
        instance.process === process &&
        instance.id !== id &&
        instance.template.handoff &&
        (unproven === true || this.host.processes.get(instance.id)?.state !== "running"),
    );
  }

  private unwanted(pool: string): { id: string; labels: Labels }[] {
    const found = this.host.processes.list().flatMap(({ id, labels: raw }) => {
      const labels = fromLabels(raw);
      return labels?.pool === pool && !this.slots.has(id) && !this.departures.has(id) ? [{ id, labels }] : [];
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
      staggered = false,
    }: { strict: (instance: Instance) => boolean; signal: AbortSignal; staggered?: boolean },
  ): Promise<void> {
    for (const policy of START_ORDER) {
      const tier = this.slotsOf(pool).filter(({ instance }) => instance.template.policy === policy);
      const failed = new AbortController();
      const tierSignal = AbortSignal.any([signal, failed.signal]);
      // Each of its processes listens.
      setMaxListeners(0, tierSignal);
      const starts = tier.map((slot) =>
        this.starter
          .ensure(slot, strict(slot.instance), tierSignal, staggered)
          .catch((error: unknown) => failed.abort(error)),
      );
      await Promise.all(starts);
      tierSignal.throwIfAborted();
    }
  }

  /** Services of a pool that are down. */
  downServices(pool: string): DownReplica[] {
    return this.down.among(this.slotsOf(pool));
  }

  /** The processes that should run of a pool, in no order. */
  slotsOf(pool: string): Slot[] {
    return [...this.slots.values()].filter(({ instance }) => instance.pool === pool);
  }

  /** The tries of a pool's processes to come up; each resolves once that one is up, or did not come up. */
  comingUp(pool: string): Promise<void>[] {
    return this.slotsOf(pool).flatMap(({ proving }) => proving?.catch(() => undefined) ?? []);
  }

  /** What of a pool should run and is not up, each with its state: `web#0 of pool web (release v1) is starting`. */
  notUp(pool: string): string[] {
    return this.slotsOf(pool).flatMap(({ instance }) => {
      const state = this.host.lives.state(instance.id);
      return state === "running" ? [] : [`${titleOf(subjectOf(instance))} ${SAID[state]}`];
    });
  }

  private startLater(slot: Slot): void {
    if (this.closed || this.slots.get(slot.instance.id) !== slot) return;
    this.starter.ensure(slot, false, new AbortController().signal).catch((error: unknown) => {
      this.restarts.later(slot, { ranForMs: 0, reason: "crash", ended: `could not be started: ${messageOf(error)}` });
    });
  }

  private exited(record: ProcessRecord): void {
    this.memory.forget(record.id);
    this.memoryWatch.forget(record.id);
    this.health.end(record.id);
    this.saidLate.delete(record.id);
    const slot = this.slots.get(record.id);
    if (this.closed) return;
    if (slot !== undefined || this.departures.has(record.id)) this.host.lives.exited(record.id, record);
    if (slot === undefined || slot.starting || this.departures.has(record.id)) return;
    this.crashed(slot, record);
  }

  private crashed(slot: Slot, record: ProcessRecord): void {
    const endedAt = record.exit === undefined ? Date.now() : Date.parse(record.exit.at);
    const ranForMs = endedAt - Date.parse(record.startedAt);
    const data = { exit: record.exit };
    this.news.gone(slot);
    this.restarts.later(slot, { ranForMs, reason: "crash", ended: exitText(record), data });
  }

  /** Restarts a process that runs, in the background. */
  private replace(slot: Slot, reason: Reason): void {
    this.health.end(slot.instance.id);
    this.replacer.replace(slot, reason).catch((error: unknown) => this.say(slot, error));
  }

  /** A process that nobody waits for is not healthy within its deadline: a service is tried again, others may come up yet. */
  private late(slot: Slot, why: string): void {
    const { template, id } = slot.instance;
    if (template.policy === "service") this.replace(slot, "unhealthy");
    else this.starter.watch(slot);
    const said = this.saidLate.has(id);
    this.saidLate.add(id);
    if (!said) this.host.events.emit(why, { ...subjectOf(slot.instance) });
  }

  private say({ instance }: Slot, error: unknown): void {
    const subject = subjectOf(instance);
    this.host.events.emit(`${titleOf(subject)}: ${messageOf(error)}`, { ...subject });
  }

  /** Waits until nothing of a pool that is not wanted runs any more. */
  async settled(pool: string): Promise<void> {
    await this.departures.allEnded((_, labels) => labels.pool === pool);
  }

  async status(pool: string): Promise<InstanceStatus[]> {
    const statuses = statusesOf(pool, this.host, this.slots.values());
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
    this.departures.close();
    this.memoryWatch.close();
    this.outputWatch.close();
    this.health.close();
    for (const { timer } of this.slots.values()) clearTimeout(timer);
  }
}
