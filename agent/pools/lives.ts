import { nextState, type ProcessChange, type ProcessState, type Reason } from "../../model/process-state";
import type { Events } from "../events";
import type { ProcessRecord } from "../processes/host";
import { type Labels, titleOf } from "./labels";
import { type LastExit, Ledger, type Life } from "./ledger";

/** Who a life belongs to. */
export type Subject = Pick<Labels, "pool" | "key" | "generation" | "release"> & { id: string };

/** What an event says when nothing more precise is known. */
export const SAID: Record<ProcessState, string> = {
  starting: "is starting",
  running: "is running",
  quieting: "is quieting",
  draining: "is draining",
  stopping: "is stopping",
  stopped: "stopped",
  backoff: "will be started again",
  failed: "has failed",
};

/** The lives of all pools' processes: their states, why, and what must outlive the agent. Each transition is one event. */
export class Lives {
  private readonly ledger: Ledger;
  private readonly known: Map<string, Life>;

  constructor(
    directory: string,
    private readonly events: Events,
    private readonly now: () => number = Date.now,
  ) {
    const { ledger, lives } = Ledger.openIn(directory, (message, data) => events.emit(message, data));
    this.ledger = ledger;
    this.known = lives;
  }

  get(id: string): Life | undefined {
    return this.known.get(id);
  }

  state(id: string): ProcessState {
    return this.known.get(id)?.state ?? "stopped";
  }

  ids(): string[] {
    return [...this.known.keys()];
  }

  /** Pools of which something is remembered. */
  pools(): string[] {
    return this.ids().flatMap((id) => id.split(".")[0] ?? []);
  }

  /** Ids of processes that get no traffic from their edge, since they restart. */
  offEdge(): ReadonlySet<string> {
    return new Set([...this.known].flatMap(([id, { offEdge }]) => (offEdge ? [id] : [])));
  }

  /**
   * Moves a process to its next state and tells. A change that means nothing to its state is not told.
   *
   * @param said the event's predicate, such as `exited with code 1`
   */
  move(subject: Subject, change: ProcessChange, { reason, said, data = {}, note = {} }: Move = {}): void {
    const before = this.known.get(subject.id);
    const old = before?.state ?? "stopped";
    const state = nextState(old, change);
    if (state === old) {
      if (Object.keys(note).length > 0) this.note(subject.id, note);
      return;
    }
    const why = reason ?? before?.reason;
    this.note(subject.id, { ...note, state, since: this.now(), reason: why });
    this.tell(subject, said ?? SAID[state], { ...data, old, state, reason: why });
  }

  /** A process that this agent has not started is taken over in the state that it is in. */
  adopt(subject: Subject, state: ProcessState, data: Record<string, unknown>): void {
    const before = this.known.get(subject.id);
    const old = before?.state ?? state;
    // Not worth a write each, where many are adopted: the next agent would find out the same.
    if (before?.state === state) this.known.set(subject.id, { ...before, reason: "adopted" });
    else this.note(subject.id, { state, since: this.now(), reason: "adopted" });
    this.tell(subject, `is adopted (${state})`, { ...data, old, state, reason: "adopted" });
  }

  /** Remembers facts without a transition. */
  note(id: string, facts: Partial<Life>): void {
    const before = this.known.get(id) ?? NEW;
    const after: Life = { ...before, ...(before === NEW ? { since: this.now() } : {}), ...facts };
    this.known.set(id, after);
    this.ledger.write(id, after);
  }

  exited(id: string, { exit }: Pick<ProcessRecord, "exit">): void {
    if (exit !== undefined) this.note(id, { lastExit: exitOf(exit) });
  }

  /** Forgets a process that is gone for good. */
  forget(id: string): void {
    this.known.delete(id);
    this.ledger.remove(id);
  }

  private tell(subject: Subject, said: string, data: Record<string, unknown>): void {
    const { id, pool, key, generation, release } = subject;
    this.events.emit(`${titleOf(subject)} ${said}`, { ...data, id, pool, key, generation, release });
  }
}

export interface Move {
  /** @default the reason of the state before */
  reason?: Reason | undefined;
  said?: string | undefined;
  data?: Record<string, unknown>;
  /** Facts to remember in the same write. */
  note?: Partial<Life>;
}

const NEW: Life = { state: "stopped", since: 0, history: [], restarts: 0, offEdge: false };

function exitOf({ code, signal, reason, at }: NonNullable<ProcessRecord["exit"]>): LastExit {
  return { code, signal, at, ...(reason === undefined ? {} : { reason }) };
}
