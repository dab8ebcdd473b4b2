import { waitFor } from "../../support/waiting";
import type { Host } from "../host/host";
import { Batched, type Call } from "../support/batched";
import type { BackendStep, StepContext } from "./step-context";
import { assertPossible } from "./step-problems";
import { taking } from "./taking";

/** Time without another change after which those that wait are made, in milliseconds. */
const QUIET_MS = { least: 20, most: 200 };
/** Longest time that the first change waits for others, in milliseconds. */
const JOIN_LIMIT_MS = 1000;
const JOIN_POLL_MS = 5;

/** A change that is asked for, as a step of a transaction. */
interface Change {
  step: BackendStep;
  context: StepContext;
}
type Member = Call<Change, void>;

/**
 * Changes of backends that are asked for at the same moment, each in a transaction of its own: those of one edge reach
 * HAProxy together, or each would cost a config check and a reload. One that fails fails alone.
 */
export class BackendBatches {
  private readonly edges = new Map<string, Batched<Change, void>>();

  /** @param isExpected whether a transaction on a backend of the edge is open and has not asked for its change yet */
  constructor(
    private readonly host: Host,
    private readonly isExpected: (edge: string) => boolean,
  ) {}

  /** Makes one change; resolves once HAProxy has it. */
  change(step: BackendStep, context: StepContext): Promise<void> {
    const { edge } = step;
    const batch =
      this.edges.get(edge) ??
      new Batched<Change, void>(
        (members) => this.applyAll(edge, members),
        (count) => this.joined(edge, count),
      );
    this.edges.set(edge, batch);
    return batch.call({ step, context });
  }

  /** Waits until no other change is on its way, by how far those before were apart: engines record each before they ask for it. */
  private async joined(edge: string, count: () => number): Promise<void> {
    let [known, at, quietMs] = [count(), performance.now(), QUIET_MS.least];
    const isComplete = () => {
      const now = performance.now();
      if (count() > known) {
        quietMs = Math.min(Math.max(quietMs, 2 * (now - at)), QUIET_MS.most);
        [known, at] = [count(), now];
      }
      return now - at >= quietMs && !this.isExpected(edge);
    };
    await waitFor(isComplete, { everyMs: JOIN_POLL_MS, deadlineMs: JOIN_LIMIT_MS });
  }

  private async applyAll(edge: string, members: readonly Member[]): Promise<void> {
    // A takeover belongs to one change, and ends with its transaction.
    const alone = this.host.working().edges[edge]?.takeover !== undefined;
    for (const group of alone ? members.map((member) => [member]) : [members]) await this.apply(edge, group);
  }

  /** Makes changes together. Where that fails, each half is tried without the other, until those that fail are alone. */
  private async apply(edge: string, members: readonly Member[]): Promise<void> {
    const begun = await this.host.reserving(() => this.begin(members));
    const [first, ...others] = begun;
    if (first === undefined) return;
    try {
      await this.host.convergeEdge(edge, taking(first.value.context, { again: false }));
      for (const { resolve } of begun) resolve();
    } catch (error) {
      for (const { value } of begun) value.context.withdraw();
      if (others.length === 0) return first.reject(error);
      const half = Math.ceil(begun.length / 2);
      await this.apply(edge, begun.slice(0, half));
      await this.apply(edge, begun.slice(half));
    }
  }

  /** Lays the changes over the working state; refuses those that can't be done now. */
  private async begin(members: readonly Member[]): Promise<Member[]> {
    const begun: Member[] = [];
    for (const member of members) {
      const { value, reject } = member;
      const { step, context } = value;
      const { overlay, signal, setOverlay } = context;
      try {
        signal.throwIfAborted();
        await assertPossible(step, this.host);
        const spec = step.verb === "backend.set" ? step.spec : null;
        setOverlay({ ...overlay, backends: { ...overlay.backends, [`${step.edge}/${step.backend}`]: spec } });
        begun.push(member);
      } catch (error) {
        reject(error);
      }
    }
    return begun;
  }
}
