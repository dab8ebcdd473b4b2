import { setTimeout as sleep } from "node:timers/promises";
import type { Events } from "../events";
import type { ProcessHost } from "../processes/host";
import { fromLabels, type Labels, titleOf } from "./launch-spec";

/** Between two looks at a draining process's connections, in milliseconds. */
const DRAIN_POLL_MS = 100;
/** Delays between tries to end a process, in milliseconds: doubling, capped. */
const RETRY_FIRST_MS = 200;
const RETRY_CAP_MS = 5000;

/** How traffic still uses an address, over all edges of this host. */
export interface Traffic {
  usage(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }>;
  /** Ends what is left after the drain deadline. */
  cut(address: string, port: number): Promise<void>;
}

interface Leaving {
  /** Ends the drain early when the process is wanted again; undefined once it is being stopped. */
  drain?: AbortController | undefined;
  /** When its drain ends at the latest, by `performance.now()`. */
  deadline: number;
  done: Promise<void>;
}

/** The processes that are no longer wanted: each drains, then stops, in the background, until it is gone. */
export class Departures {
  private readonly leaving = new Map<string, Leaving>();
  private closed = false;

  constructor(
    private readonly host: {
      processes: ProcessHost;
      events: Events;
      traffic: Traffic;
      /** Whether a process is wanted again. */
      isWanted: (id: string) => boolean;
    },
  ) {}

  has(id: string): boolean {
    return this.leaving.has(id);
  }

  /** What a process that leaves does; undefined for one that does not leave. */
  stateOf(id: string): "draining" | "stopping" | undefined {
    const entry = this.leaving.get(id);
    if (entry === undefined) return undefined;
    return entry.drain === undefined ? "stopping" : "draining";
  }

  /** Drains and stops a process in the background; companions go after the proxied processes of their release. */
  start(id: string, labels: Labels): void {
    const entry: Leaving = {
      drain: new AbortController(),
      deadline: performance.now() + labels.drainMs,
      done: Promise.resolve(),
    };
    this.leaving.set(id, entry);
    entry.done = this.untilGone(id, labels, entry).finally(() => this.leaving.delete(id));
  }

  /** Lets a process stay that is wanted again, unless it is being stopped already. */
  takeBack(id: string): void {
    this.leaving.get(id)?.drain?.abort();
  }

  /** Waits until a process has left, or stays. */
  async ended(id: string): Promise<void> {
    await this.leaving.get(id)?.done;
  }

  /** Waits until those have left that are chosen by their labels. */
  async allEnded(choose: (id: string, labels: Labels) => boolean): Promise<void> {
    const chosen = [...this.leaving].filter(([id]) => {
      const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
      return labels !== undefined && choose(id, labels);
    });
    await Promise.all(chosen.map(([, { done }]) => done));
  }

  close(): void {
    this.closed = true;
  }

  /** Does not give up: what was not ended would run on unwatched, beside its successor. */
  private async untilGone(id: string, labels: Labels, entry: Leaving): Promise<void> {
    for (let delay = RETRY_FIRST_MS; !this.closed; delay = Math.min(delay * 2, RETRY_CAP_MS)) {
      try {
        return await this.leave(id, labels, entry);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        this.host.events.emit(`${titleOf(labels)} could not be stopped yet: ${message}`, {
          ...labels,
          retryInMs: delay,
        });
      }
      await sleep(delay);
      if (this.host.isWanted(id) || this.host.processes.get(id) === undefined) return;
      // What HAProxy can't tell any more must not keep the process beyond its deadline.
      if (performance.now() >= entry.deadline) entry.drain = undefined;
    }
  }

  private async leave(id: string, labels: Labels, entry: Leaving): Promise<void> {
    const { processes, events, isWanted } = this.host;
    if (labels.policy === "companion")
      await this.allEnded(
        (_, { policy, pool, generation }) =>
          policy === "proxied" && pool === labels.pool && generation === labels.generation,
      );
    const drain = entry.drain?.signal ?? AbortSignal.abort();
    if (labels.policy === "proxied" && labels.port !== undefined && processes.get(id)?.state === "running")
      await this.drained(labels, entry.deadline, drain);
    if (drain.aborted && isWanted(id)) return;
    entry.drain = undefined;
    const record = await processes.stop(id, { signal: labels.stopSignal, graceMs: labels.graceMs });
    events.emit(`${titleOf(labels)} stopped`, { ...labels, id, state: "stopped", exit: record.exit });
    await processes.remove(id);
  }

  private async drained({ port = 0, ...labels }: Labels, deadline: number, signal: AbortSignal): Promise<void> {
    const { traffic, events } = this.host;
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
}
