import { setTimeout as sleep } from "node:timers/promises";
import type { Reason } from "../../model/process-state";
import { connectionsTo } from "./connections";
import { fromLabels, type Labels, titleOf } from "./launch-spec";
import type { Life } from "./ledger";
import type { Subject } from "./lives";
import { messageOf, type PoolHost } from "./slot";

/** Between two looks at a draining process's connections, in milliseconds. */
const DRAIN_POLL_MS = 100;
/** Delays between tries to end a process, in milliseconds: doubling, capped. */
const RETRY_FIRST_MS = 200;
const RETRY_CAP_MS = 5000;

/** How traffic uses the processes of pools, over all edges of this host. */
export interface Traffic {
  usage(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }>;
  /** Ends what is left after the drain deadline. */
  cut(address: string, port: number): Promise<void>;
  /** Brings the edge of a pool to what is wanted, without the processes that are off edge. */
  converge(pool: string): Promise<void>;
  /** Ports of a pool's servers that take requests now. */
  taking(pool: string): Promise<number[]>;
}

interface Leaving {
  /** Ends the drain early when the process is wanted again; undefined once it is being stopped. */
  drain?: AbortController | undefined;
  /** When its drain ends at the latest, by `performance.now()`. */
  deadline: number;
  /** Whether it ends to run again, so that it being wanted is no reason to stay. */
  again: boolean;
  done: Promise<void>;
}

/** The processes that end: each drains, then stops, in the background, until it is gone. */
export class Departures {
  private readonly leaving = new Map<string, Leaving>();
  private closed = false;

  constructor(
    private readonly host: PoolHost,
    /** Whether a process is wanted. */
    private readonly isWanted: (id: string) => boolean,
  ) {}

  has(id: string): boolean {
    return this.leaving.has(id);
  }

  /**
   * Drains and stops a process in the background; companions go after the proxied processes of their release. One that an
   * earlier agent had begun with has the rest of its time.
   *
   * @param options.again whether it ends to run again
   */
  start(id: string, labels: Labels, { reason, again = false }: { reason: Reason; again?: boolean }): void {
    const { lives } = this.host;
    const before = lives.get(id)?.leaving;
    const life: NonNullable<Life["leaving"]> = {
      ...(before ?? { since: Date.now(), quieted: false }),
      reason: before?.reason ?? reason,
      again,
    };
    const spent = Math.max(0, Date.now() - life.since);
    const entry: Leaving = {
      drain: new AbortController(),
      deadline: performance.now() + Math.max(0, labels.drainMs - spent),
      again,
      done: Promise.resolve(),
    };
    this.leaving.set(id, entry);
    lives.note(id, { leaving: life });
    lives.move(subjectOf(id, labels), "drain", { reason: life.reason });
    entry.done = this.untilGone(id, labels, entry).finally(() => this.leaving.delete(id));
  }

  /** Lets a process stay that is wanted again, unless it is being stopped already, or ends to run again. */
  takeBack(id: string): void {
    const entry = this.leaving.get(id);
    if (entry?.again === false) entry.drain?.abort();
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
    const { processes, events } = this.host;
    for (let delay = RETRY_FIRST_MS; !this.closed; delay = Math.min(delay * 2, RETRY_CAP_MS)) {
      try {
        return await this.leave(id, labels, entry);
      } catch (error) {
        events.emit(`${titleOf(labels)} could not be stopped yet: ${messageOf(error)}`, {
          ...labels,
          retryInMs: delay,
        });
      }
      await sleep(delay);
      if (this.stays(id, entry) || processes.get(id) === undefined) return;
      // What HAProxy can't tell any more must not keep the process beyond its deadline.
      if (performance.now() >= entry.deadline) entry.drain = undefined;
    }
  }

  private stays(id: string, { again }: Leaving): boolean {
    return !again && this.isWanted(id);
  }

  private async leave(id: string, labels: Labels, entry: Leaving): Promise<void> {
    const { processes, lives } = this.host;
    const subject = subjectOf(id, labels);
    if (labels.policy === "companion" && !entry.again)
      await this.allEnded(
        (_, { policy, pool, generation }) =>
          policy === "proxied" && pool === labels.pool && generation === labels.generation,
      );
    const drain = entry.drain?.signal ?? AbortSignal.abort();
    if (labels.policy === "proxied" && labels.port !== undefined && processes.get(id)?.state === "running")
      await this.drained(labels, entry.deadline, drain);
    if (drain.aborted && this.stays(id, entry)) {
      lives.move(subject, "keep", { note: { leaving: undefined } });
      return;
    }
    entry.drain = undefined;
    lives.move(subject, "stop");
    const record = await processes.stop(id, { signal: labels.stopSignal, graceMs: labels.graceMs });
    lives.exited(id, record);
    lives.move(subject, "gone", { data: { exit: record.exit }, note: { leaving: undefined } });
    await processes.remove(id);
    if (!this.isWanted(id)) lives.forget(id);
  }

  private async drained({ port = 0, ...labels }: Labels, deadline: number, signal: AbortSignal): Promise<void> {
    const { traffic, events } = this.host;
    let said = false;
    while (!signal.aborted) {
      const { connections: known, mayReceive } = await traffic.usage("127.0.0.1", port);
      const connections = labels.inPlace ? Math.max(known, await connectionsTo(port)) : known;
      if (connections === 0 && !mayReceive) return;
      if (!said) events.emit(`${titleOf(labels)} still has ${connections} connections`, { ...labels, connections });
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

function subjectOf(id: string, { pool, key, generation, release }: Labels): Subject {
  return { id, pool, key, generation, release };
}
