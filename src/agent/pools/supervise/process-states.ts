import { nextState, type ProcessChange, type ProcessState, type Reason } from "../../../model/process/process-state";
import type { Events } from "../../events/events";
import type { ProcessRecord } from "../../processes/process-manager";
import { type Labels, titleOf } from "../launch/labels";
import { type LastExit, type ProcessStateRecord, ProcessStateStore } from "./process-state-store";

/** The process that a state belongs to. */
export type Subject = Pick<Labels, "pool" | "key" | "generation" | "release"> & { id: string };

/** Predicate of an event if nothing more precise is known. */
export const STATE_MESSAGES: Record<ProcessState, string> = {
  starting: "is starting",
  running: "is running",
  quieting: "is quieting",
  draining: "is draining",
  stopping: "is stopping",
  stopped: "stopped",
  backoff: "will be started again",
  failed: "has failed",
};

/**
 * The states of all pools' processes, their reasons, and facts that must outlive the agent. Each transition is one
 * event.
 */
export class ProcessStates {
  private readonly store: ProcessStateStore;
  private readonly states: Map<string, ProcessStateRecord>;

  constructor(
    directory: string,
    private readonly events: Events,
    private readonly now: () => number = Date.now,
  ) {
    const { store, states } = ProcessStateStore.openIn(directory, (message, data) => events.emit(message, data));
    this.store = store;
    this.states = states;
  }

  get(id: string): ProcessStateRecord | undefined {
    return this.states.get(id);
  }

  state(id: string): ProcessState {
    return this.states.get(id)?.state ?? "stopped";
  }

  ids(): string[] {
    return [...this.states.keys()];
  }

  /** Pools of which something is remembered. */
  pools(): string[] {
    return this.ids().flatMap((id) => id.split(".")[0] ?? []);
  }

  /** Ids of processes that get no traffic from their edge, since they restart. */
  offEdge(): ReadonlySet<string> {
    return new Set([...this.states].flatMap(([id, { offEdge }]) => (offEdge ? [id] : [])));
  }

  /**
   * Moves a process to its next state and emits the event. A change that means nothing to its state emits none.
   *
   * @param message the event's predicate, such as `exited with code 1`
   */
  transition(
    subject: Subject,
    change: ProcessChange,
    { reason, message, data = {}, facts = {} }: TransitionDetails = {},
  ): void {
    const before = this.states.get(subject.id);
    const old = before?.state ?? "stopped";
    const state = nextState(old, change);
    if (state === old) {
      if (Object.keys(facts).length > 0) this.remember(subject.id, facts);
      return;
    }
    const why = reason ?? before?.reason;
    this.remember(subject.id, { ...facts, state, since: this.now(), reason: why });
    this.notify(subject, message ?? STATE_MESSAGES[state], { ...data, old, state, reason: why });
  }

  /** A process that this agent has not started is taken over in the state that it is in. */
  adopt(subject: Subject, state: ProcessState, data: Record<string, unknown>): void {
    const before = this.states.get(subject.id);
    const old = before?.state ?? state;
    // Not worth a write each, where many are adopted: the next agent would find out the same.
    if (before?.state === state) this.states.set(subject.id, { ...before, reason: "adopted" });
    else this.remember(subject.id, { state, since: this.now(), reason: "adopted" });
    this.notify(subject, `is adopted (${state})`, { ...data, old, state, reason: "adopted" });
  }

  /** Remembers facts without a transition. */
  remember(id: string, facts: Partial<ProcessStateRecord>): void {
    const before = this.states.get(id) ?? NEW;
    const after: ProcessStateRecord = { ...before, ...(before === NEW ? { since: this.now() } : {}), ...facts };
    this.states.set(id, after);
    this.store.write(id, after);
  }

  exited(id: string, { exit }: Pick<ProcessRecord, "exit">): void {
    if (exit !== undefined) this.remember(id, { lastExit: exitOf(exit) });
  }

  /** Forgets a process that is gone for good. */
  forget(id: string): void {
    this.states.delete(id);
    this.store.remove(id);
  }

  private notify(subject: Subject, message: string, data: Record<string, unknown>): void {
    const { id, pool, key, generation, release } = subject;
    this.events.emit(`${titleOf(subject)} ${message}`, { ...data, id, pool, key, generation, release });
  }
}

export interface TransitionDetails {
  /** @default the reason of the state before */
  reason?: Reason | undefined;
  message?: string | undefined;
  data?: Record<string, unknown>;
  /** Facts to remember in the same write. */
  facts?: Partial<ProcessStateRecord>;
}

const NEW: ProcessStateRecord = { state: "stopped", since: 0, history: [], restarts: 0, offEdge: false };

function exitOf({ code, signal, reason, at }: NonNullable<ProcessRecord["exit"]>): LastExit {
  return { code, signal, at, ...(reason === undefined ? {} : { reason }) };
}
