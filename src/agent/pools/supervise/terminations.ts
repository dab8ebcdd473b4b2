import { setTimeout as sleep } from "node:timers/promises";
import type { Reason } from "../../../model/process/process-state";
import { messageOf } from "../../../model/types/errors";
import { waitFor } from "../../../support/waiting";
import type { ProcessRecord } from "../../processes/process-manager";
import { fromLabels, type Labels, titleOf } from "../launch/labels";
import { connectionsTo } from "./connections";
import { Hooks } from "./hooks";
import type { ProcessStateRecord } from "./process-state-store";
import type { Subject } from "./process-states";
import type { SupervisionContext } from "./supervised-process";

/** Pause between two checks of a draining process's connections, in milliseconds. */
const DRAIN_POLL_MS = 100;
/** Delays between attempts to end a process, in milliseconds: doubling, capped. */
const RETRY_FIRST_MS = 200;
const RETRY_CAP_MS = 5000;

interface Termination {
  /** Ends the drain early when the process is wanted again. */
  drain: AbortController;
  /** Whether it is past its drain. */
  stopping: boolean;
  /** When its drain ends at the latest, by `performance.now()`. */
  deadline: number;
  /** Whether it ends to run again, so that it being wanted is no reason to stay. */
  again: boolean;
  done: Promise<void>;
}

/** The processes that end: each drains, then stops, in the background, until it is gone. */
export class Terminations {
  private readonly running = new Map<string, Termination>();
  private readonly hooks: Hooks;
  private closed = false;

  constructor(
    private readonly host: SupervisionContext,
    private readonly wishes: {
      isWanted: (id: string) => boolean;
      /** Whether a process that hands over its port must wait, since its successor is wanted and not up yet. */
      awaitsSuccessor: (id: string, labels: Labels) => boolean;
    },
  ) {
    this.hooks = new Hooks(host);
    this.hooks
      .sweep()
      .catch((error: unknown) => host.events.emit(`commands of an earlier agent are left: ${messageOf(error)}`));
  }

  has(id: string): boolean {
    return this.running.has(id);
  }

  /**
   * Drains and stops a process in the background; companions go after the proxied processes of their release. One that an
   * earlier agent had begun with has the rest of its time.
   *
   * @param options.again whether it ends to run again
   */
  start(id: string, labels: Labels, { reason, again = false }: { reason: Reason; again?: boolean }): void {
    const { processStates } = this.host;
    const previous = processStates.get(id)?.leaving;
    const state: NonNullable<ProcessStateRecord["leaving"]> = {
      ...(previous ?? { since: Date.now(), quieted: false }),
      reason: previous?.reason ?? reason,
      again,
    };
    const spent = Math.max(0, Date.now() - state.since);
    const entry: Termination = {
      drain: new AbortController(),
      stopping: false,
      deadline: performance.now() + Math.max(0, labels.drainMs - spent),
      again,
      done: Promise.resolve(),
    };
    this.running.set(id, entry);
    processStates.remember(id, { leaving: state });
    processStates.remember(id, { reason: state.reason });
    const waits = labels.policy === "companion" && !again && !labels.nonBlocking && labels.commands.quiet !== undefined;
    if (!waits && !this.wishes.awaitsSuccessor(id, labels)) this.notifyStart(id, labels, state.reason);
    entry.done = this.untilGone(id, labels, entry).finally(() => this.running.delete(id));
  }

  /** Lets a process stay that is wanted again, unless it is being stopped already, or ends to run again. */
  cancel(id: string): void {
    const entry = this.running.get(id);
    if (entry?.again === false && !entry.stopping) entry.drain.abort();
  }

  /** Waits until a process has left, or stays. */
  async ended(id: string): Promise<void> {
    await this.running.get(id)?.done;
  }

  /** Waits until those have left that are chosen by their labels. */
  async allEnded(choose: (id: string, labels: Labels) => boolean): Promise<void> {
    const chosen = [...this.running].filter(([id]) => {
      const labels = fromLabels(this.host.processes.get(id)?.labels ?? {});
      return labels !== undefined && choose(id, labels);
    });
    await Promise.all(chosen.map(([, { done }]) => done));
  }

  close(): void {
    this.closed = true;
  }

  /** Does not give up: what was not ended would run on unwatched, beside its successor. */
  private async untilGone(id: string, labels: Labels, entry: Termination): Promise<void> {
    const { processes, events } = this.host;
    for (let delay = RETRY_FIRST_MS; !this.closed; delay = Math.min(delay * 2, RETRY_CAP_MS)) {
      try {
        return await this.terminate(id, labels, entry);
      } catch (error) {
        events.emit(`${titleOf(labels)} could not be stopped yet: ${messageOf(error)}`, {
          ...about(labels),
          retryInMs: delay,
        });
      }
      await sleep(delay);
      if (this.mayStay(id, entry) || processes.get(id) === undefined) return;
      // Do not keep the process beyond its deadline because HAProxy can't answer any more.
      if (performance.now() >= entry.deadline) entry.drain.abort();
    }
  }

  private notifyStart(id: string, labels: Labels, reason?: Reason): void {
    this.host.processStates.transition(subjectOf(id, labels), labels.commands.quiet === undefined ? "drain" : "quiet", {
      reason,
    });
  }

  /** Whether a process that was taken back may stay as it is: one that was told to take no more work may not. */
  private mayStay(id: string, { again }: Termination): boolean {
    return !again && this.wishes.isWanted(id) && this.host.processStates.get(id)?.leaving?.quieted !== true;
  }

  private async terminate(id: string, labels: Labels, entry: Termination): Promise<void> {
    const { processes, processStates } = this.host;
    const subject = subjectOf(id, labels);
    await this.itsTurn(id, labels, entry);
    if (!entry.drain.signal.aborted) await this.drain(id, labels, entry);
    if (entry.drain.signal.aborted && this.mayStay(id, entry)) {
      processStates.transition(subject, "keep", { facts: { leaving: undefined } });
      return;
    }
    entry.stopping = true;
    processStates.transition(subject, "stop");
    const record = await this.stop(id, labels);
    processStates.exited(id, record);
    processStates.transition(subject, "gone", { data: { exit: record.exit }, facts: { leaving: undefined } });
    await this.hooks.clear(id);
    // Keep the last output of a process that runs again: it may say why.
    await processes.remove(id, { keepOutput: entry.again ? 1 : 0 });
    if (!this.wishes.isWanted(id)) processStates.forget(id);
  }

  /** Waits for those that need a process until they have left, or that take over from it. */
  private async itsTurn(id: string, labels: Labels, { again, drain }: Termination): Promise<void> {
    if (labels.policy === "companion" && !again && !labels.nonBlocking)
      await this.allEnded(
        (_, { policy, pool, generation }) =>
          policy === "proxied" && pool === labels.pool && generation === labels.generation,
      );
    const isItsTurn = () => drain.signal.aborted || this.closed || !this.wishes.awaitsSuccessor(id, labels);
    if (!again) await waitFor(isItsTurn, { everyMs: DRAIN_POLL_MS });
    if (!drain.signal.aborted) this.notifyStart(id, labels);
  }

  /** Takes a process out of work: no more traffic, no more work, then what it has ends. */
  private async drain(id: string, labels: Labels, { deadline, drain: { signal } }: Termination): Promise<void> {
    const { processes, processStates } = this.host;
    const runs = () => processes.get(id)?.state === "running";
    const proxied = labels.policy === "proxied" && labels.port !== undefined;
    if (proxied && runs())
      await this.drained(labels, { deadline, signal, connections: labels.commands.quiet === undefined });
    if (labels.commands.quiet !== undefined && runs() && !signal.aborted) {
      const { leaving: termination } = processStates.get(id) ?? {};
      // Noted before it runs: a command that was cut short may have done its work.
      if (termination !== undefined) processStates.remember(id, { leaving: { ...termination, quieted: true } });
      await this.hooks.run(id, "quiet", labels.quietMs, signal);
      processStates.transition(subjectOf(id, labels), "drain");
      if (proxied && runs()) await this.drained(labels, { deadline, signal, connections: true });
    }
    if (labels.workMs > 0 && runs() && !signal.aborted) await this.finishWork(id, labels, signal);
  }

  /** The drain command, or the process's own exit. */
  private async finishWork(id: string, labels: Labels, signal: AbortSignal): Promise<void> {
    const { processes, processStates, events } = this.host;
    const { leaving: termination } = processStates.get(id) ?? {};
    const since = termination?.workSince ?? Date.now();
    if (termination !== undefined) processStates.remember(id, { leaving: { ...termination, workSince: since } });
    const gone = new AbortController();
    const left = Math.min(since + labels.workMs - Date.now(), labels.workMs);
    const command =
      labels.commands.drain === undefined
        ? undefined
        : this.hooks.run(id, "drain", labels.workMs, AbortSignal.any([signal, gone.signal]));
    const giveUpAt = performance.now() + left;
    let done = false;
    void command?.then(() => {
      done = true;
    });
    while (processes.get(id)?.state === "running" && !done && !signal.aborted && performance.now() < giveUpAt)
      await sleep(Math.min(DRAIN_POLL_MS, Math.max(1, giveUpAt - performance.now())));
    if (command === undefined && processes.get(id)?.state === "running" && !signal.aborted)
      events.emit(`${titleOf(labels)} did not end by itself within its drainTimeout`, { ...subjectOf(id, labels) });
    gone.abort();
    await command;
  }

  /** Its stop command or signal; what the command does not end within the time to stop is killed. */
  private async stop(id: string, labels: Labels): Promise<ProcessRecord> {
    const { processes } = this.host;
    const { stopSignal, graceMs } = labels;
    if (labels.commands.stop === undefined) return processes.stop(id, { signal: stopSignal, graceMs });
    const gone = new AbortController();
    let command: Promise<unknown> = Promise.resolve();
    const ask = () => {
      command = this.hooks.run(id, "stop", graceMs, gone.signal).then((good) => {
        // If the command failed, the signal may still work.
        if (!good) processes.signal(id, stopSignal);
      });
    };
    try {
      return await processes.stop(id, { signal: ask, graceMs });
    } finally {
      gone.abort();
      await command;
    }
  }

  /**
   * Waits until no edge gives a process requests any more.
   *
   * @param o.connections whether also until it has no connections; those that are left at the deadline are cut
   */
  private async drained(
    { port = 0, ...labels }: Labels,
    { deadline, signal, ...o }: { deadline: number; signal: AbortSignal; connections: boolean },
  ): Promise<void> {
    const { traffic, events } = this.host;
    let reported = false;
    while (!signal.aborted) {
      const { connections: known, mayReceive } = await traffic.connections("127.0.0.1", port);
      const connections = labels.inPlace ? Math.max(known, await connectionsTo(port)) : known;
      if ((connections === 0 || !o.connections) && !mayReceive) return;
      if (!o.connections && performance.now() >= deadline) return;
      if (!reported)
        events.emit(`${titleOf(labels)} still has ${connections} connections`, { ...about(labels), connections });
      reported = true;
      if (performance.now() >= deadline) {
        events.emit(`${titleOf(labels)} still had ${connections} connections at its drain deadline`, {
          ...about(labels),
          connections,
        });
        await traffic.cut("127.0.0.1", port);
        return;
      }
      await sleep(Math.min(DRAIN_POLL_MS, Math.max(1, deadline - performance.now())));
    }
  }
}

/** An event's fields about a process. */
function about({ pool, key, generation, release }: Omit<Labels, "port">): Record<string, unknown> {
  return { pool, key, generation, release };
}

function subjectOf(id: string, { pool, key, generation, release }: Labels): Subject {
  return { id, pool, key, generation, release };
}
