import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "../../model/pool-state";
import { nextRestart, type Restarts } from "../../model/restart";
import type { Events } from "../events";
import { Problem } from "../problem";
import type { ProcessHost, ProcessRecord } from "../processes/host";
import { fromLabels, type Labels, launchSpec } from "./launch-spec";
import { untilHealthy } from "./probe";

/** Time that a process without a health check must stay up to count as started, in milliseconds. */
export const SETTLE_MS = 500;
/** Lines of output that a failure message carries. */
const TAIL_LINES = 10;
/** Between two looks at a draining process's connections, in milliseconds. */
const DRAIN_POLL_MS = 100;

const START_ORDER = ["service", "companion", "proxied", "singleton"] as const;
const STOP_ORDER = ["proxied", "singleton", "companion", "service"] as const;

/** How traffic still uses an address, over all edges of this host. */
export interface Traffic {
  usage(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }>;
  /** Ends what is left after the drain deadline. */
  cut(address: string, port: number): Promise<void>;
}

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
  starting: boolean;
  restarts?: Restarts | undefined;
  restartCount: number;
  timer?: NodeJS.Timeout | undefined;
}

interface Leaving {
  /** Ends the drain early when the process is wanted again; undefined once it is being stopped. */
  drain?: AbortController | undefined;
  done: Promise<void>;
}

/**
 * Keeps the wanted processes of all pools running: starts what is missing, restarts what exits, drains and stops what is
 * no longer wanted. What is wanted is set as a whole per pool; the supervisor works off the difference.
 */
export class Supervisor {
  private readonly slots = new Map<string, Slot>();
  private readonly leaving = new Map<string, Leaving>();
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
    host.processes.on("exit", (record) => this.exited(record));
  }

  /** Sets what should run for a pool. What should not drains and stops in the background; nothing is started yet. */
  want(pool: string, instances: Instance[]): void {
    const wanted = new Map(instances.map((instance) => [instance.id, instance]));
    for (const [id, slot] of this.slots) {
      if (slot.instance.pool !== pool || wanted.has(id)) continue;
      clearTimeout(slot.timer);
      this.slots.delete(id);
    }
    for (const [id, instance] of wanted) {
      const slot = this.slots.get(id);
      if (slot === undefined) this.slots.set(id, { instance, starting: false, restartCount: 0 });
      else slot.instance = instance;
      this.leaving.get(id)?.drain?.abort();
    }
    for (const { id, labels } of this.unwanted(pool)) this.leave(id, labels);
  }

  private unwanted(pool: string): { id: string; labels: Labels }[] {
    const found = this.host.processes.list().flatMap(({ id, labels: raw }) => {
      const labels = fromLabels(raw);
      return labels?.pool === pool && !this.slots.has(id) && !this.leaving.has(id) ? [{ id, labels }] : [];
    });
    return found.toSorted((a, b) => STOP_ORDER.indexOf(a.labels.policy) - STOP_ORDER.indexOf(b.labels.policy));
  }

  /**
   * Starts a pool's missing processes in order: services, companions, proxied, singletons.
   *
   * @param strict the first process that does not come up fails the call (with its last output); else it is retried in the background
   */
  async ensure(pool: string, { strict, signal }: { strict: boolean; signal: AbortSignal }): Promise<void> {
    for (const policy of START_ORDER) {
      const tier = [...this.slots.values()].filter(
        ({ instance }) => instance.pool === pool && instance.template.policy === policy,
      );
      const failed = new AbortController();
      const tierSignal = AbortSignal.any([signal, failed.signal]);
      const starts = tier.map((slot) =>
        this.ensureOne(slot, strict, tierSignal).catch((error: unknown) => failed.abort(error)),
      );
      await Promise.all(starts);
      tierSignal.throwIfAborted();
    }
  }

  private async ensureOne(slot: Slot, strict: boolean, signal: AbortSignal): Promise<void> {
    const { id } = slot.instance;
    await this.leaving.get(id)?.done;
    signal.throwIfAborted();
    const record = this.host.processes.get(id);
    if (record?.state === "running" && !slot.starting) return;
    if (slot.instance.template.policy === "singleton") await this.otherSingletonsGone(slot.instance);
    clearTimeout(slot.timer);
    slot.starting = strict;
    try {
      await this.launch(slot.instance);
      if (strict) await this.up(slot.instance, signal);
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

  private async otherSingletonsGone({ id, pool, process }: Instance): Promise<void> {
    const others = [...this.leaving].filter(([other]) => {
      const labels = fromLabels(this.host.processes.get(other)?.labels ?? {});
      return other !== id && labels?.pool === pool && labels.process === process;
    });
    await Promise.all(others.map(([, { done }]) => done));
  }

  private async launch(instance: Instance): Promise<void> {
    const { processes, edgeAddress, drainMs, secretEnv, events } = this.host;
    const { id, pool } = instance;
    if (processes.get(id)?.state === "exited") await processes.remove(id);
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
      throw new Problem(422, "not-up", `${this.title(instance)} ${reason}${await this.lastOutput(id)}`);
    } finally {
      processes.off("exit", onExit);
    }
    events.emit(`${this.title(instance)} is running`, { ...this.dataOf(instance), state: "running" });
  }

  private async lastOutput(id: string): Promise<string> {
    const lines = await this.host.processes.tail(id, { lines: TAIL_LINES });
    return lines.length === 0
      ? "; it printed nothing"
      : `; its last output:\n${lines.map((line) => `  | ${line}`).join("\n")}`;
  }

  private exited(record: ProcessRecord): void {
    const slot = this.slots.get(record.id);
    if (this.closed || slot === undefined || slot.starting || this.leaving.has(record.id)) return;
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
      // ensureOne in its lenient mode reports a failure itself and tries again later.
      void this.ensureOne(slot, false, new AbortController().signal);
    }, slot.restarts.delayMs);
  }

  /** Drains and stops a process in the background; companions go after the proxied processes of their release. */
  private leave(id: string, labels: Labels): void {
    const entry: Leaving = { drain: new AbortController(), done: Promise.resolve() };
    this.leaving.set(id, entry);
    entry.done = this.leaveNow(id, labels, entry)
      .catch((error: unknown) => {
        this.host.events.emit(`${titleOf(labels)} could not be stopped: ${messageOf(error)}`, { ...labels });
      })
      .finally(() => this.leaving.delete(id));
  }

  private async leaveNow(id: string, labels: Labels, entry: Leaving): Promise<void> {
    const { processes, events } = this.host;
    const before = [...this.leaving].flatMap(([other, { done }]) => {
      const theirs = fromLabels(processes.get(other)?.labels ?? {});
      const first = labels.policy === "companion" && theirs?.policy === "proxied" && theirs.pool === labels.pool;
      return first && theirs.generation === labels.generation ? [done] : [];
    });
    await Promise.all(before);
    const drain = entry.drain?.signal ?? AbortSignal.abort();
    if (labels.policy === "proxied" && labels.port !== undefined && processes.get(id)?.state === "running")
      await this.drained(labels, drain);
    if (drain.aborted && this.slots.has(id)) return;
    entry.drain = undefined;
    const record = await processes.stop(id, { signal: labels.stopSignal, graceMs: labels.graceMs });
    events.emit(`${titleOf(labels)} stopped`, { ...labels, id, state: "stopped", exit: record.exit });
    await processes.remove(id);
  }

  private async drained({ port = 0, drainMs, ...labels }: Labels, signal: AbortSignal): Promise<void> {
    const { traffic, events } = this.host;
    const deadline = performance.now() + drainMs;
    let said = false;
    while (!signal.aborted) {
      const { connections, mayReceive } = await traffic.usage("127.0.0.1", port);
      if (connections === 0 && !mayReceive) return;
      if (!said) events.emit(`${titleOf(labels)} is draining`, { ...labels, state: "draining", connections });
      said = true;
      if (performance.now() >= deadline) {
        events.emit(`${titleOf(labels)} still had ${connections} connections at its drain deadline`, {
          ...labels,
          connections,
        });
        await traffic.cut("127.0.0.1", port);
        return;
      }
      await sleep(Math.min(DRAIN_POLL_MS, Math.max(1, deadline - performance.now())));
    }
  }

  /** Waits until nothing of a pool that is not wanted runs any more. */
  async settled(pool: string): Promise<void> {
    const theirs = [...this.leaving].filter(([id]) => id.startsWith(`${pool}.`));
    await Promise.all(theirs.map(([, { done }]) => done));
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
    const leaving = this.leaving.get(id);
    const { key, process, policy, generation, release, port } = labels;
    const alive = record.state !== "exited";
    const state =
      leaving !== undefined
        ? leaving.drain === undefined
          ? "stopping"
          : "draining"
        : slot?.starting
          ? "starting"
          : alive
            ? "running"
            : slot?.timer !== undefined
              ? "backoff"
              : "stopped";
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
    for (const { timer } of this.slots.values()) clearTimeout(timer);
  }

  private title(instance: Instance): string {
    return titleOf({ pool: instance.pool, key: instance.key, release: instance.release.id });
  }

  private dataOf({ id, pool, key, generation, release }: Instance): Record<string, unknown> {
    return { id, pool, key, generation, release: release.id };
  }
}

function titleOf({ pool, key, release }: Pick<Labels, "pool" | "key" | "release">): string {
  return `${key} of pool ${pool} (release ${release})`;
}

function exitText({ exit }: ProcessRecord): string {
  if (exit === undefined) return "exited";
  if (exit.signal !== null) return `was ended by ${exit.signal}`;
  return exit.code === null ? `exited (${exit.reason ?? "exit code unknown"})` : `exited with code ${exit.code}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
