import { setMaxListeners } from "node:events";
import { hostname, userInfo } from "node:os";
import type { AgentClient } from "../../agent/client/client";
import type { Claim } from "../../model/protocol/ownership";
import { DEFAULT_LEASE_MS, type StepInput, type Target } from "../../model/protocol/transaction";
import { messageOf } from "../../model/types/errors";
import { note, openNoteSenders, type SendNote } from "../evidence/note-sender";
import type { Context } from "../server";
import { keepLease } from "./lease";
import { commit, type Held, UNDO_DEADLINE_MS, type Undone, undo } from "./undo";

/** Runs steps of an open transaction. */
export type RunStep = (step: StepInput) => Promise<Record<string, unknown>>;

/** One target on one agent, which a change holds. */
export interface Part {
  client: AgentClient;
  target: Target;
  /** Of the resource that declares the target; left out by those who only change something about it. */
  claim?: Claim | undefined;
  /** Whether nothing of it lasts: how its commit ends decides nothing. @default false */
  temporary?: boolean | undefined;
  /** Time without a renewal after which its agent undoes it, in milliseconds. @default 5000 */
  leaseMs?: number | undefined;
}

/** A part whose transaction is open. */
export type OpenPart<P extends Part = Part> = P & { run: RunStep };

export interface TransactionOptions<P extends Part = Part> {
  /** Time to wait for an undo, in milliseconds; agents go on by themselves. @default 30 seconds */
  undoDeadlineMs?: number | undefined;
  /** Runs before an undo, while all leases are still renewed, to lead traffic away from processes that will stop. */
  beforeUndo?: (parts: OpenPart<P>[]) => Promise<void>;
  /**
   * Runs after the commit of the permanent parts, before that of the temporary ones; a failure of it is logged, and
   * undoes nothing.
   */
  committed?: () => Promise<void>;
  /**
   * Runs after the undo of the permanent parts, before that of the temporary ones: traffic must not come back too
   * early.
   */
  restored?: () => Promise<void>;
  /**
   * Puts back what a part had committed before the commit of another one failed; it throws where it can't.
   * @default such a part stays as it was to be, and the error says so
   */
  revert?: (part: P) => Promise<void>;
}

/** Changes one target on one agent in a transaction, see {@link inTransactions}. */
export async function inTransaction(
  client: AgentClient,
  target: Target,
  context: Context,
  work: (run: RunStep, signal: AbortSignal, sendNote: SendNote) => Promise<void>,
  { claim, undoDeadlineMs }: { claim?: Claim | undefined; undoDeadlineMs?: number } = {},
): Promise<void> {
  const part: Part = { client, target, claim };
  await inTransactions(
    [part],
    context,
    async ([open], signal, sendNote) => work((open as OpenPart).run, signal, sendNote),
    {
      undoDeadlineMs,
    },
  );
}

/**
 * Changes targets on several agents as one: opened on all (else nothing has changed), all steps, and then the commits; or
 * everything is put back and the error thrown. The leases are renewed meanwhile; when this process dies, each agent undoes
 * its part by itself.
 *
 * Agents know nothing of each other, so that the commits are one after the other, in the order of `parts`. Where this
 * process dies between two of them, those before it are as they were to be, and the others as they were: previews show
 * that, and the next update goes on from there. Where a commit fails, those before it are reverted.
 *
 * @param work what it does; its signal also aborts when an agent has undone its part by itself; what it tells goes into
 *   the evidence of all parts
 */
export async function inTransactions<P extends Part>(
  parts: readonly P[],
  context: Context,
  work: (parts: OpenPart<P>[], signal: AbortSignal, sendNote: SendNote) => Promise<void>,
  options: TransactionOptions<P> = {},
): Promise<void> {
  context.signal.throwIfAborted();
  const lost = new AbortController();
  const signal = AbortSignal.any([context.signal, lost.signal]);
  // Each agent's step listens to it: more than ten are no leak.
  setMaxListeners(0, signal);
  const holds = await openAll(parts, context, (error) => lost.abort(error));
  const runner =
    ({ client, id }: Held, within?: AbortSignal): RunStep =>
    (step) =>
      client.step(id, step, ({ message }) => context.log.progress(message), within);
  const { sendNote, sent: notesSent } = openNoteSenders(
    holds.map(({ client, id, part: { target } }) => ({ client, id, target })),
    context,
  );
  let committing: Hold<P> | undefined;
  try {
    await work(
      holds.map((hold) => ({ ...hold.part, run: runner(hold, signal) })),
      signal,
      sendNote,
    );
    signal.throwIfAborted();
    let follow = options.committed;
    for (const hold of permanentFirst(holds)) {
      if (hold.part.temporary) {
        await follow?.().catch((failed: unknown) => context.log.warn(messageOf(failed)));
        follow = undefined;
      }
      committing = hold;
      await commit(hold);
      hold.committed = true;
    }
  } catch (error) {
    // Reasons of undos are one line; what an app printed as it failed is here.
    sendNote(note(messageOf(error)));
    if (committing === undefined && options.beforeUndo !== undefined)
      await options.beforeUndo(holds.map((hold) => ({ ...hold.part, run: runner(hold) }))).catch((failed: unknown) => {
        context.log.warn(`before the undo, ${messageOf(failed)}`);
      });
    await settle(holds, error, { committing, options, context });
  } finally {
    for (const { release } of holds) release();
    await notesSent();
  }
}

interface Hold<P extends Part> extends Held {
  part: P;
  committed: boolean;
  /** Ends the renewals of its lease. */
  release: () => void;
}

/** Opens all transactions, or none: always in the same order, so that of two changes at once one gets all of them. */
async function openAll<P extends Part>(
  parts: readonly P[],
  context: Context,
  lost: (error: Error) => void,
): Promise<Hold<P>[]> {
  const key = ({ client, target }: Part) => `${client.socket} ${target}`;
  const ordered = parts.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  const open = new Map<P, Hold<P>>();
  try {
    for (const part of ordered) {
      const { client, target, claim, leaseMs = DEFAULT_LEASE_MS } = part;
      const { id } = await client.begin({ target, owner: ownerOf(context), leaseMs, claim });
      const title = parts.length === 1 ? target : `${target} of the agent at ${client.socket}`;
      open.set(part, { part, client, id, title, committed: false, release: keepLease(client, id, leaseMs, lost) });
    }
  } catch (error) {
    await Promise.all([...open.values()].map((hold) => abandon(hold, messageOf(error), context)));
    throw parts.length === 1 ? error : new Error(`${messageOf(error)}\nNothing was changed.`, { cause: error });
  }
  return parts.map((part) => open.get(part) as Hold<P>);
}

async function abandon({ client, id, title, release }: Hold<Part>, reason: string, { log }: Context): Promise<void> {
  release();
  await client.abort(id, reason).catch((error: unknown) => {
    log.warn(`${title} is given up by its agent once its lease has run out: ${messageOf(error)}`);
  });
}

function permanentFirst<P extends Part>(holds: readonly Hold<P>[]): Hold<P>[] {
  return holds.toSorted((a, b) => Number(a.part.temporary ?? false) - Number(b.part.temporary ?? false));
}

/** After a failure: everything as it was before, or committed on all after all. */
async function settle<P extends Part>(
  holds: readonly Hold<P>[],
  error: unknown,
  {
    committing,
    options,
    context,
  }: { committing: Hold<P> | undefined; options: TransactionOptions<P>; context: Context },
): Promise<void> {
  const { undoDeadlineMs: deadlineMs = UNDO_DEADLINE_MS, revert, restored } = options;
  const reason = messageOf(error);
  const permanent = holds.filter(({ part }) => part.temporary !== true);
  const temporary = holds.filter(({ part }) => part.temporary === true);
  const undoAll = async (some: readonly Hold<P>[]): Promise<Undone[]> => {
    const outcomes = await Promise.all(
      some.map(async (hold) => {
        if (hold.committed) return undefined;
        const outcome = await undo(hold, { reason, committing: hold === committing, deadlineMs }, context.log);
        hold.committed = outcome.state === "committed";
        return hold.committed ? undefined : outcome;
      }),
    );
    return outcomes.filter((outcome) => outcome !== undefined);
  };
  // Parts that only lead traffic past the others are undone last.
  const left = await undoAll(permanent);
  if (left.length > 0) await restored?.();
  const rest = (await undoAll(temporary)).filter(({ state }) => state !== "undone");
  if (left.length === 0) {
    const what = permanent.map(({ title }) => title).join(" and ");
    context.log.warn(`${what} is committed, although its agent did not say so at once: ${reason}`);
    return;
  }
  const reverted = await Promise.all(permanent.flatMap((hold) => (hold.committed ? [revertPart(hold, revert)] : [])));
  throw new Error([reason, ...left.map(({ text }) => text), ...reverted, ...rest.map(({ text }) => text)].join("\n"));
}

async function revertPart<P extends Part>(
  { part, title }: Hold<P>,
  revert: TransactionOptions<P>["revert"],
): Promise<string> {
  try {
    if (revert === undefined) throw new Error("nothing puts it back");
    await revert(part);
    return `${title} was committed already, and was put back to what it was before.`;
  } catch (error) {
    return `${title} is committed already (${messageOf(error)}): a preview shows what differs, and an update goes on from there.`;
  }
}

function ownerOf({ urn }: Context) {
  return { who: `${userInfo().username}@${hostname()}`, why: urn, pid: process.pid };
}
