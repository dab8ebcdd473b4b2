import { randomUUID } from "node:crypto";
import type { z } from "zod";
import type { Ending } from "../../model/evidence/record";
import { finished, isRollback } from "../../model/pool/pool-promotion";
import { type Claim, claimProblem } from "../../model/protocol/ownership";
import { butNotUp, type openRequest, type Phase, type Step, type Target } from "../../model/protocol/transaction";
import { milliseconds } from "../../model/types/duration";
import { withTimeout } from "../../support/waiting";
import type { TransactionStatus } from "../api/answers";
import { ApiError } from "../api/api-error";
import type { Events } from "../events/events";
import type { Evidence } from "../evidence/evidence";
import type { Host } from "../host/host";
import { concerns, type Desired, emptyOverlay, merge, type Overlay } from "../state/desired";
import type { DiskReserve } from "../state/disk-reserve";
import type { Secrets } from "../state/secrets";
import { BackendBatches } from "./backend-batches";
import type { Journal, OpenTransaction } from "./journal";
import { agentStopping, alreadyCommitted, assertWhole, held, unknown } from "./refusals";
import { type Drain, keepOut } from "./servers";
import type { StepContext } from "./step-context";
import { runStep } from "./steps";
import { untilUp } from "./until-up";

interface Transaction extends TransactionStatus {
  leaseMs: number;
  claim?: Claim | undefined;
  overlay: Overlay;
  timer?: NodeJS.Timeout | undefined;
  /** Ends the step that runs when the transaction is to be undone. */
  abort: AbortController;
  /** The step, commit or undo that runs; one at a time. */
  work: Promise<unknown>;
  undo?: Promise<void> | undefined;
  /** Whether it has begun a step. */
  stepped: boolean;
  /** Whether a step has changed anything: one that was refused leaves nothing to put back. */
  touched: boolean;
  /** The server of an edge that it took out of the traffic. */
  drained?: Drain | undefined;
  /** Why a step failed: what is half done must not be committed. */
  failed?: string | undefined;
}

/** Longest time that an abort waits for its undo, in milliseconds; the undo goes on by itself. */
export const ABORT_PATIENCE_MS = 30_000;
/** Ended transactions whose outcome is kept in memory; commits are also in the state file. */
const REMEMBERED = 100;

/**
 * Transactions on this host: one per target at a time, each under a lease that its holder renews. Steps change the
 * working state and reality; a commit makes the change the committed state; everything else ends in an undo.
 */
export class Transactions {
  private readonly open = new Map<string, Transaction>();
  private readonly ended = new Map<string, TransactionStatus>();
  private closed = false;
  /** Aborted at the agent's own stop. */
  private readonly ending = new AbortController();
  /** Why no transactions are opened any more. */
  private stopping: string | undefined;
  private readonly batches: BackendBatches;

  constructor(
    private readonly parts: {
      host: Host;
      journal: Journal;
      events: Events;
      secrets: Secrets;
      diskReserve: DiskReserve;
      evidence: Evidence;
      /** Throws where the state folder is not this agent's any more. */
      assertOwnFolder: () => Promise<void>;
    },
  ) {
    const isExpected = (edge: string) =>
      [...this.open.values()].some(
        ({ target, stepped, undo }) => !stepped && undo === undefined && target.startsWith(`backend/${edge}/`),
      );
    this.batches = new BackendBatches(parts.host, isExpected);
  }

  list(): TransactionStatus[] {
    return [...this.open.values()].map(statusOf);
  }

  status(id: string): TransactionStatus {
    const known = this.open.get(id) ?? this.ended.get(id);
    if (known !== undefined) return statusOf(known);
    const commit = this.parts.host.committed.transactions.find((entry) => entry.id === id);
    if (commit === undefined) throw unknown(id);
    const { target, who, at } = commit;
    return { id, target, owner: { who, why: target, pid: 1 }, since: at, state: "committed" };
  }

  async begin({ target, owner, leaseMs, claim }: z.output<typeof openRequest>): Promise<TransactionStatus> {
    if (this.stopping !== undefined) throw agentStopping(target, this.stopping);
    const holder = [...this.open.values()].find((other) => other.target === target);
    if (holder !== undefined) throw held(holder);
    const known = this.parts.host.committed.owners[target];
    const refused = claim && claimProblem(target, known, { ...claim, urn: owner.why });
    if (refused !== undefined) throw new ApiError(409, "owned", refused);
    const transaction: Transaction = {
      id: randomUUID(),
      target,
      owner,
      since: new Date().toISOString(),
      state: "open",
      leaseMs,
      claim,
      overlay: emptyOverlay(),
      abort: new AbortController(),
      work: Promise.resolve(),
      stepped: false,
      touched: false,
    };
    // Taken before the first await: two calls at once must not both find the target free.
    this.open.set(transaction.id, transaction);
    try {
      await this.parts.assertOwnFolder();
      await this.parts.diskReserve.check();
      await this.parts.journal.append({ kind: "opened", id: transaction.id, target, owner });
    } catch (error) {
      this.open.delete(transaction.id);
      throw error;
    }
    this.parts.evidence.opened(transaction);
    this.renewLease(transaction);
    this.phase(transaction, "open", `${owner.who} opened a transaction on ${target}`);
    return statusOf(transaction);
  }

  renew(id: string): TransactionStatus {
    const transaction = this.live(id);
    this.renewLease(transaction);
    return statusOf(transaction);
  }

  private renewLease(transaction: Transaction): void {
    clearTimeout(transaction.timer);
    transaction.timer = setTimeout(() => {
      const reason = `its holder ${transaction.owner.who} (process ${transaction.owner.pid}) was silent for ${transaction.leaseMs} ms`;
      this.startUndo(transaction, reason, "lease");
    }, transaction.leaseMs);
  }

  /** Runs one step and answers with what it found out. A step that fails leaves the transaction open: its holder aborts it. */
  async step(id: string, step: Step): Promise<unknown> {
    const transaction = this.live(id);
    return this.alone(transaction, async () => {
      // Traffic may be led away whatever has failed.
      if (step.verb !== "server.drain") assertWhole(transaction, `take ${step.verb}`);
      if (step.verb === "server.drain") {
        transaction.drained = step;
        this.parts.evidence.drains(id, step.server);
      }
      const { host, secrets, journal, evidence } = this.parts;
      await Promise.all([journal.append({ kind: "step", id, verb: step.verb }), evidence.waitForSnapshot(id)]);
      transaction.stepped = true;
      const { overlay: before } = transaction;
      const context: StepContext = {
        target: transaction.target,
        host,
        secrets,
        changeBackend: (change) => this.batches.change(change, context),
        signal: transaction.abort.signal,
        overlay: before,
        /** The evidence goes on to tell what was to be changed. */
        withdraw: () => {
          transaction.overlay = before;
          host.setOverlay(id, before);
        },
        /** Refuses further steps once the undo has begun. */
        setOverlay: (overlay) => {
          transaction.abort.signal.throwIfAborted();
          transaction.touched = true;
          transaction.overlay = overlay;
          host.setOverlay(id, overlay);
          evidence.changed(id);
        },
        phase: (phase, message) => this.phase(transaction, phase, message),
      };
      return runStep(step, context).catch((error: unknown) => {
        transaction.failed = `${step.verb} failed`;
        throw error;
      });
    });
  }

  async commit(id: string): Promise<TransactionStatus> {
    const transaction = this.live(id);
    return this.alone(transaction, async () => {
      const { host, journal, secrets, diskReserve } = this.parts;
      assertWhole(transaction, "be committed");
      this.phase(transaction, "commit", `${transaction.target} is being committed`);
      const now = new Date();
      const pools = Object.entries(transaction.overlay.pools).map(([name, state]) => [
        name,
        state === null ? null : finished(state, now),
      ]);
      const { target, owner, claim } = transaction;
      transaction.abort.signal.throwIfAborted();
      const before = host.committed;
      await host.commit(
        { id, target, who: owner.who, urn: owner.why, claim },
        { ...transaction.overlay, pools: Object.fromEntries(pools) },
      );
      // It is committed: from here on nothing may make it look as if it were not.
      this.end(transaction, "committed");
      const [from, to] = [before, host.committed].map(({ owners }) => owners[target]?.urn);
      if (from !== undefined && to !== undefined && from !== to)
        this.parts.events.emit(`${target} belongs to ${to} now, no longer to ${from}`, { transaction: id, target });
      await this.tidied(() => diskReserve.during(() => journal.append({ kind: "committed", id })));
      this.phase(transaction, "retire", `${target} is committed; what it replaced drains`);
      const { edges, pools: names } = concerns(target, [before, host.working()]);
      const back = Object.values(transaction.overlay.pools).some((state) => state !== null && isRollback(state));
      const reason = back ? "rollback" : "deploy";
      if (mayLeave(target, edges, [before, host.working()]))
        void host.reconciler.inBackground(names, () =>
          diskReserve.during(() => host.reconciler.reconcile({ edges, pools: names }, reason)),
        );
      if (names.length > 0) {
        void host.reconciler.inBackground([], () => host.retainedReleases.reconcile(host.committed.pools));
        void host.reconciler.inBackground([], () => host.artifacts.prune(Object.values(host.working().pools)));
      }
      await this.tidied(() => secrets.prune(host.working().pools, poolOf(target)));
      await this.tidied(() => this.rotate());
      return statusOf(transaction);
    });
  }

  /** Work that the outcome of a transaction does not depend on: what goes wrong with it is told, and the next start makes it good. */
  private async tidied(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.parts.events.emit(`tidying up after a transaction failed: ${(error as Error).message}`);
    }
  }

  /**
   * Undoes a transaction and waits for that, but not longer than `waitMs`: it may still be `undoing` then. One that is
   * undone already is not an error, a committed one is.
   */
  async abort(id: string, reason: string, waitMs = ABORT_PATIENCE_MS): Promise<TransactionStatus> {
    const status = this.status(id);
    if (status.state === "committed") throw alreadyCommitted(status);
    const transaction = this.open.get(id);
    if (transaction === undefined) return status;
    this.startUndo(transaction, reason, "abort");
    await withTimeout(transaction.undo, waitMs, () => undefined);
    return this.status(id);
  }

  private startUndo(transaction: Transaction, reason: string, ending: Ending): void {
    if (transaction.undo !== undefined || this.closed) return;
    this.parts.evidence.undoing(transaction.id, ending, reason);
    clearTimeout(transaction.timer);
    transaction.reason = reason;
    transaction.state = "undoing";
    transaction.abort.abort(
      new ApiError(410, "undone", `the transaction on ${transaction.target} is being undone: ${reason}`),
    );
    transaction.undo = transaction.work.then(() =>
      this.parts.diskReserve.during(() => this.undo(transaction, reason, ending)),
    );
  }

  private async undo(transaction: Transaction, reason: string, ending: Ending): Promise<void> {
    if (!this.open.has(transaction.id)) return;
    const { host, journal, events, secrets } = this.parts;
    const { id, target } = transaction;
    events.emit(`undoing the transaction on ${target}: ${reason}`, { transaction: id, target, reason });
    await this.tidied(() => journal.append({ kind: "undoing", id, reason }));
    const affected = concerns(target, [host.committed, merge(host.committed, [transaction.overlay])]);
    if (ending === "lease") await this.tidied(() => this.keepOut(transaction));
    host.dropOverlay(id);
    const delayed = (why: string | undefined) => {
      transaction.delay = why;
    };
    if (transaction.touched) {
      await host.reconciler.reconcile(affected, "undo", delayed);
      transaction.notUp = await untilUp(host.supervisor, affected.pools, delayed);
    }
    delayed(undefined);
    this.end(transaction, "undone");
    const message = `the transaction on ${target} is undone${butNotUp(transaction.notUp)}`;
    events.emit(message, { transaction: id, target, reason });
    await this.tidied(() => journal.append({ kind: "undone", id }));
    await this.tidied(() => secrets.prune(host.working().pools, poolOf(target)));
    await this.tidied(() => this.rotate());
  }

  /** Keeps a drained server out for a while: after the update's end nobody tells the edge when its host is back. */
  private async keepOut({ id, target, touched, drained, overlay }: Transaction): Promise<void> {
    if (!touched || drained === undefined || milliseconds(drained.hold) === 0) return;
    const { host, events } = this.parts;
    events.emit(
      `server ${drained.server} stays out of the traffic for ${drained.hold}, in which its host puts back what was there`,
      { transaction: id, target },
    );
    await keepOut(host, drained, overlay, {
      setOverlay: (held) => host.setOverlay(id, held),
      signal: this.ending.signal,
    });
  }

  private async rotate(): Promise<void> {
    if (this.open.size === 0) await this.parts.journal.rotate();
  }

  private end(transaction: Transaction, state: "committed" | "undone"): void {
    clearTimeout(transaction.timer);
    transaction.state = state;
    this.open.delete(transaction.id);
    this.parts.evidence.ended(transaction.id, state, transaction.notUp);
    this.remember(transaction);
  }

  /** Keeps how a transaction went that the agent's start has undone: its holder asks once the agent listens. */
  undoneAtStart({ id, target, owner, at }: OpenTransaction, notUp: string | undefined): void {
    const reason = "its agent had stopped in between, and undid it when it started again";
    this.remember({ id, target, owner, since: at, state: "undone", reason, notUp });
  }

  private remember(transaction: TransactionStatus): void {
    this.ended.set(transaction.id, statusOf(transaction));
    const oldest = this.ended.keys().next();
    if (this.ended.size > REMEMBERED && oldest.done === false) this.ended.delete(oldest.value);
  }

  /** Runs work of a transaction after what runs already; an undo waits for it in turn. */
  private alone<T>(transaction: Transaction, work: () => Promise<T>): Promise<T> {
    const result = transaction.work.then(() => {
      transaction.abort.signal.throwIfAborted();
      return work();
    });
    transaction.work = result.catch(() => undefined);
    return result;
  }

  private live(id: string): Transaction {
    const transaction = this.open.get(id);
    if (transaction === undefined) {
      const { state, reason, target } = this.status(id);
      throw new ApiError(
        410,
        state,
        `the transaction on ${target} is ${state}${reason === undefined ? "" : `: ${reason}`}`,
      );
    }
    if (transaction.undo !== undefined)
      throw new ApiError(
        410,
        "undoing",
        `the transaction on ${transaction.target} is being undone: ${transaction.reason}`,
      );
    return transaction;
  }

  private phase(transaction: Transaction, phase: Phase, message: string): void {
    this.parts.events.emit(message, { transaction: transaction.id, target: transaction.target, phase });
    if (phase !== "open") this.parts.evidence.mark(transaction.id, "phase", message);
  }

  /** Undoes all open transactions, waiting up to `deadlineMs` for that, and opens no more: before the agent's own stop. */
  async undoAll(reason: string, deadlineMs: number): Promise<void> {
    this.stopping = reason;
    for (const transaction of this.open.values()) this.startUndo(transaction, reason, "stop");
    await withTimeout(Promise.all([...this.open.values()].map(({ undo }) => undo)), deadlineMs, () => undefined);
  }

  /** Stops the leases' clocks at the agent's own stop; open transactions are undone by the next agent's start. */
  close(): void {
    this.closed = true;
    this.ending.abort(new Error("the agent is stopping"));
    for (const transaction of this.open.values()) {
      clearTimeout(transaction.timer);
      transaction.abort.abort(
        new ApiError(503, "stopping", "the agent is stopping: the transaction will be undone by its next start"),
      );
    }
  }
}

/** Whether work remains after the commit: only existing processes that were taken over are kept until then. */
function mayLeave(target: Target, edges: readonly string[], states: readonly Desired[]): boolean {
  const takesOver = edges.some((edge) => states.some((desired) => desired.edges[edge]?.takeover !== undefined));
  return takesOver || !target.startsWith("backend/");
}

function statusOf({ id, target, owner, since, state, reason, delay, notUp }: TransactionStatus): TransactionStatus {
  return { id, target, owner, since, state, reason, delay, notUp };
}

function poolOf(target: Target): string | undefined {
  return target.startsWith("pool/") ? target.slice("pool/".length) : undefined;
}
