import { waitFor } from "../../support/waiting";
import type { Host } from "../host/host";
import { singleFlight } from "../support/single-flight";
import type { BackendStep, StepContext } from "./step-context";
import { assertPossible } from "./step-problems";
import { taking } from "./taking";

/** Time in which changes join the first one at any rate, in milliseconds. */
const JOIN_MS = 20;
/** Longest time that the first change waits for those whose transactions are open already, in milliseconds. */
const JOIN_LIMIT_MS = 200;
const JOIN_POLL_MS = 5;

interface Member {
  step: BackendStep;
  context: StepContext;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * Changes of backends that are asked for at the same moment, each in a transaction of its own: those of one edge reach
 * HAProxy together, or each would cost a config check and a reload. One that fails fails alone.
 */
export class BackendBatches {
  private readonly edges = new Map<string, { waiting: Member[]; run: () => Promise<void> }>();

  /** @param isExpected whether a transaction on a backend of the edge is open and has not asked for its change yet */
  constructor(
    private readonly host: Host,
    private readonly isExpected: (edge: string) => boolean,
  ) {}

  /** Makes one change; resolves once HAProxy has it. */
  change(step: BackendStep, context: StepContext): Promise<void> {
    const { waiting, run } = this.batchOf(step.edge);
    return new Promise((resolve, reject) => {
      waiting.push({ step, context, resolve, reject });
      void run();
    });
  }

  private batchOf(edge: string) {
    const known = this.edges.get(edge);
    if (known !== undefined) return known;
    const waiting: Member[] = [];
    const run = singleFlight(async () => {
      if (waiting.length === 0) return;
      const from = performance.now();
      const isComplete = () => performance.now() - from >= JOIN_MS && !this.isExpected(edge);
      await waitFor(isComplete, { everyMs: JOIN_POLL_MS, deadlineMs: JOIN_LIMIT_MS });
      const members = waiting.splice(0);
      // A takeover belongs to one change, and ends with its transaction.
      const alone = this.host.working().edges[edge]?.takeover !== undefined;
      for (const group of alone ? members.map((member) => [member]) : [members]) await this.apply(edge, group);
    });
    const batch = { waiting, run };
    this.edges.set(edge, batch);
    return batch;
  }

  /** Makes changes together. Where that fails, each half is tried without the other, until those that fail are alone. */
  private async apply(edge: string, members: readonly Member[]): Promise<void> {
    const begun = await this.host.reserving(() => this.begin(members));
    const [first, ...others] = begun;
    if (first === undefined) return;
    try {
      await this.host.convergeEdge(edge, taking(first.context, { again: false }));
      for (const { resolve } of begun) resolve();
    } catch (error) {
      for (const { context } of begun) context.withdraw();
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
      const { step, context, reject } = member;
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
