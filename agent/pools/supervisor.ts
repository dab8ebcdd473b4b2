import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "../../model/pool-state";
import { nextRestart, type Restarts } from "../../model/restart";
import type { Events } from "../events";
import { Problem } from "../problem";
import type { ProcessHost, ProcessRecord } from "../processes/host";
import { Departures, type Traffic } from "./departures";
import { fromLabels, type Labels, launchSpec, titleOf, toLabels } from "./launch-spec";
import { untilHealthy } from "./probe";

/** Time that a process without a health check must stay up to count as started, in milliseconds. */
export const SETTLE_MS = 500;
/** Lines of output that a failure message carries. */
const TAIL_LINES = 10;
/** Shorter secrets are not looked for in output. */
const MIN_MASKED_LENGTH = 4;

const START_ORDER = ["service", "companion", "proxied", "singleton"] as const;
const STOP_ORDER = ["proxied", "singleton", "companion", "service"] as const;

export interface InstanceStatus extends Pick<Labels, "key" | "process" | "policy" | "generation" | "release"> {
  id: string;
  state: "starting" | "running" | "backoff" | "draining" | "stopping" | "stopped";
  port?: number | undefined;
  pid?: number | undefined;
  startedAt?: string | undefined;
  /** Restarts after exits that nobody asked for. */
  restarts: number;
}

interface Slot {
  instance: Instance;
  /** Time that it has to drain when it leaves, in milliseconds. */
  drainMs: number;
  starting: boolean;
  /** Whether it was started and has not been seen to come up. */
  unproven?: boolean;
  restarts?: Restarts | undefined;
  restartCount: number;
  timer?: NodeJS.Timeout | undefined;
  /** Attempts to start it, one at a time; never rejects. */
  turn: Promise<unknown>;
}

/**
 * Keeps the wanted processes of all pools running: starts what is missing, restarts what exits, drains and stops what is
 * no longer wanted. What is wanted is set as a whole per pool; the supervisor works off the difference.
 */
export class Supervisor {
  private readonly slots = new Map<string, Slot>();
  private readonly departures: Departures;
  private closed = false;

  constructor(
    private readonly host: {
      processes: ProcessHost;
      events: Events;
      traffic: Traffic;
      edgeAddress: (pool: string) => string;
      drainMs: (pool: string) => number;
      secretEnv: (instance: Instance) => Record<string, string>;
    },
  ) {
    this.departures = new Departures({ ...host, isWanted: (id) => this.slots.has(id) });
    host.processes.on("exit", (record) => this.exited(record));
  }

  /** Sets what should run for a pool. What should not drains and stops in the background; nothing is started yet. */
  want(pool: string, instances: Instance[]): void {
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
      const slot = this.slots.get(id);
      if (slot === undefined)
        this.slots.set(id, { instance, drainMs, starting: false, restartCount: 0, turn: Promise.resolve() });
      else Object.assign(slot, { instance, drainMs });
      if (this.isOfUndone(instance)) this.replace(id);
      else this.departures.takeBack(id);
    }
    for (const { id, labels } of this.unwanted(pool)) {
      const slot = dropped.get(id);
      // How it stops may have been changed since it was started.
      this.departures.start(id, { ...labels, ...(slot && fromLabels(toLabels(slot.instance, slot.drainMs))) });
    }
  }

  /**
   * Whether a service was started from a release that is undone: it runs under the same id for all releases. Numbers only
   * grow, so that a running one is older than what is wanted, and may be, unless that release is no more.
   */
  private isOfUndone({ id, template, generation }: Instance): boolean {
    const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
    return template.policy === "service" && labels !== undefined && labels.generation > generation;
  }

  /** Stops a process; the start of what is missing, which follows, waits for that. */
  private replace(id: string): void {
    const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
    if (labels !== undefined && !this.departures.has(id)) this.departures.start(id, labels);
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
   */
  async ensure(
    pool: string,
    { strict, signal }: { strict: (instance: Instance) => boolean; signal: AbortSignal },
  ): Promise<void> {
    for (const policy of START_ORDER) {
      const tier = [...this.slots.values()].filter(
        ({ instance }) => instance.pool === pool && instance.template.policy === policy,
      );
      const failed = new AbortController();
      const tierSignal = AbortSignal.any([signal, failed.signal]);
      const starts = tier.map((slot) =>
        this.ensureOne(slot, strict(slot.instance), tierSignal).catch((error: unknown) => failed.abort(error)),
      );
      await Promise.all(starts);
      tierSignal.throwIfAborted();
    }
  }

  /** Starts one process after what is being done for it already: a restart that is due must not meet a promotion's start. */
  private ensureOne(slot: Slot, strict: boolean, signal: AbortSignal): Promise<void> {
    const before = slot.turn;
    const result = unlessAborted(signal, before).then(() => this.startMissing(slot, strict, signal));
    slot.turn = Promise.allSettled([before, result]);
    return result;
  }

  private async startMissing(slot: Slot, strict: boolean, signal: AbortSignal): Promise<void> {
    const { id, template } = slot.instance;
    // An undo must not wait for what these wait for: it takes the traffic back first.
    await unlessAborted(signal, this.departures.ended(id));
    if (this.host.processes.get(id)?.state === "running") {
      // Work in the background may have started it, which does not wait for it to come up.
      if (strict && slot.unproven) await this.proven(slot, signal);
      return;
    }
    if (template.policy === "singleton") await unlessAborted(signal, this.otherSingletonsGone(slot.instance));
    if (this.host.processes.get(id)?.state === "exited") await this.host.processes.remove(id);
    signal.throwIfAborted();
    // It may have become unwanted while others were waited for; nobody would stop it then.
    if (this.closed || this.slots.get(id) !== slot) return;
    clearTimeout(slot.timer);
    slot.timer = undefined;
    slot.starting = strict;
    slot.unproven = true;
    try {
      await this.launch(slot.instance);
      if (strict) await this.proven(slot, signal);
    } catch (error) {
      if (strict) throw error;
      this.host.events.emit(
        `${this.title(slot.instance)} did not start: ${messageOf(error)}`,
        this.dataOf(slot.instance),
      );
      this.restartLater(slot, 0);
    } finally {
      slot.starting = false;
    }
  }

  private async proven(slot: Slot, signal: AbortSignal): Promise<void> {
    await this.up(slot.instance, signal);
    slot.unproven = false;
  }

  private async otherSingletonsGone({ id, pool, process }: Instance): Promise<void> {
    await this.departures.allEnded(
      (other, labels) => other !== id && labels.pool === pool && labels.process === process,
    );
  }

  private async launch(instance: Instance): Promise<void> {
    const { processes, edgeAddress, drainMs, secretEnv, events } = this.host;
    const { id, pool } = instance;
    const spec = launchSpec(instance, {
      edgeAddress: edgeAddress(pool),
      drainMs: drainMs(pool),
      secretEnv: secretEnv(instance),
      hostEnv: process.env,
    });
    const record = await processes.launch(id, spec);
    events.emit(`${this.title(instance)} started`, { ...this.dataOf(instance), state: "starting", pid: record.pid });
  }

  /** Waits until a started process is up: healthy where it has a health check, else alive for a moment. */
  private async up(instance: Instance, outer: AbortSignal): Promise<void> {
    const { processes, events } = this.host;
    const { id, template, port } = instance;
    const exit = new AbortController();
    const onExit = (record: ProcessRecord) => {
      if (record.id === id) exit.abort(new Error(exitText(record)));
    };
    processes.on("exit", onExit);
    try {
      const record = processes.get(id);
      if (record?.state === "exited") onExit(record);
      const signal = AbortSignal.any([outer, exit.signal]);
      if (template.health !== undefined && port !== undefined) await untilHealthy(port, template.health, signal);
      else await sleep(SETTLE_MS, undefined, { signal });
    } catch (error) {
      outer.throwIfAborted();
      const reason = exit.signal.aborted ? messageOf(exit.signal.reason) : messageOf(error);
      throw new Problem(422, "not-up", `${this.title(instance)} ${reason}${await this.lastOutput(instance)}`);
    } finally {
      processes.off("exit", onExit);
    }
    events.emit(`${this.title(instance)} is running`, { ...this.dataOf(instance), state: "running" });
  }

  private async lastOutput(instance: Instance): Promise<string> {
    const lines = await this.host.processes.tail(instance.id, { lines: TAIL_LINES });
    if (lines.length === 0) return "; it printed nothing";
    // An app may print its secrets as it fails, but messages go to events, to the journal and to whoever deploys.
    const secrets = Object.values(this.host.secretEnv(instance)).flatMap((value) => [value, ...value.split("\n")]);
    return `; its last output:\n${lines.map((line) => `  | ${masked(line, secrets)}`).join("\n")}`;
  }

  private exited(record: ProcessRecord): void {
    const slot = this.slots.get(record.id);
    if (this.closed || slot === undefined || slot.starting || this.departures.has(record.id)) return;
    const ranFor = Date.now() - Date.parse(record.startedAt);
    this.host.events.emit(`${this.title(slot.instance)} ${exitText(record)}`, {
      ...this.dataOf(slot.instance),
      state: "backoff",
      exit: record.exit,
    });
    this.restartLater(slot, ranFor);
  }

  private restartLater(slot: Slot, ranForMs: number): void {
    slot.restarts = nextRestart(slot.restarts, ranForMs);
    clearTimeout(slot.timer);
    slot.timer = setTimeout(() => {
      slot.timer = undefined;
      if (this.closed || this.slots.get(slot.instance.id) !== slot) return;
      slot.restartCount += 1;
      this.ensureOne(slot, false, new AbortController().signal).catch((error: unknown) => {
        this.host.events.emit(
          `${this.title(slot.instance)} could not be started again: ${messageOf(error)}`,
          this.dataOf(slot.instance),
        );
        this.restartLater(slot, 0);
      });
    }, slot.restarts.delayMs);
  }

  /** Waits until nothing of a pool that is not wanted runs any more. */
  async settled(pool: string): Promise<void> {
    await this.departures.allEnded((_, labels) => labels.pool === pool);
  }

  status(pool: string): InstanceStatus[] {
    const records = this.host.processes.list().flatMap((record) => {
      const labels = fromLabels(record.labels);
      return labels?.pool === pool ? [this.statusOf(record.id, labels, record)] : [];
    });
    const known = new Set(records.map(({ id }) => id));
    const missing = [...this.slots.values()]
      .filter(({ instance }) => instance.pool === pool && !known.has(instance.id))
      .map(({ instance, restartCount, timer }): InstanceStatus => {
        const { id, key, process, generation, release, template, port } = instance;
        const state = timer === undefined ? "stopped" : "backoff";
        return {
          id,
          key,
          process,
          policy: template.policy,
          generation,
          release: release.id,
          port,
          state,
          restarts: restartCount,
        };
      });
    return [...records, ...missing];
  }

  private statusOf(id: string, labels: Labels, record: ProcessRecord): InstanceStatus {
    const slot = this.slots.get(id);
    const { key, process, policy, generation, release, port } = labels;
    const alive = record.state !== "exited";
    const state = this.departures.stateOf(id) ?? stateOf(slot, alive);
    return {
      id,
      key,
      process,
      policy,
      generation,
      release,
      port,
      state,
      restarts: slot?.restartCount ?? 0,
      ...(alive ? { pid: record.pid, startedAt: record.startedAt } : {}),
    };
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
    for (const { timer } of this.slots.values()) clearTimeout(timer);
  }

  private title(instance: Instance): string {
    return titleOf({ pool: instance.pool, key: instance.key, release: instance.release.id });
  }

  private dataOf({ id, pool, key, generation, release }: Instance): Record<string, unknown> {
    return { id, pool, key, generation, release: release.id };
  }
}

/** A text without secrets; shorter ones would blot out ordinary words. */
function masked(text: string, secrets: string[]): string {
  return secrets
    .filter(({ length }) => length >= MIN_MASKED_LENGTH)
    .toSorted((a, b) => b.length - a.length)
    .reduce((left, secret) => left.replaceAll(secret, "[secret]"), text);
}

/** The state of a process that does not leave. */
function stateOf(slot: Slot | undefined, alive: boolean): InstanceStatus["state"] {
  if (slot?.starting) return "starting";
  if (alive) return "running";
  return slot?.timer === undefined ? "stopped" : "backoff";
}

function exitText({ exit }: ProcessRecord): string {
  if (exit === undefined) return "exited";
  if (exit.signal !== null) return `was ended by ${exit.signal}`;
  return exit.code === null ? `exited (${exit.reason ?? "exit code unknown"})` : `exited with code ${exit.code}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Waits for something, or rejects with the signal's reason, whichever comes first. */
async function unlessAborted(signal: AbortSignal, promise: Promise<unknown>): Promise<void> {
  signal.throwIfAborted();
  let aborted: () => void = () => undefined;
  const abortion = new Promise<never>((_, reject) => {
    aborted = () => reject(signal.reason);
    signal.addEventListener("abort", aborted, { once: true });
  });
  try {
    await Promise.race([promise, abortion]);
  } finally {
    signal.removeEventListener("abort", aborted);
  }
}
