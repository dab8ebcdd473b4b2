import { hostname, userInfo } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../agent/client/client";
import { AgentError, UnreachableError } from "../../agent/client/connection";
import { type AgentEvent, DEFAULT_LEASE_MS, type StepInput, type Target } from "../../model/transaction";
import type { Context } from "../server";

/** Renewals per lease: two may be lost before it runs out. */
const RENEWALS_PER_LEASE = 3;
/** Time to wait for an agent that went away during a commit to come back and tell how it ended, in milliseconds. */
const OUTCOME_DEADLINE_MS = 30_000;
const OUTCOME_POLL_MS = 200;
/** Time to wait for an undo, in milliseconds; its agent goes on by itself. */
const UNDO_DEADLINE_MS = 30_000;
/** How often it is shown meanwhile what the undo waits for, in milliseconds. */
const UNDO_POLL_MS = 2000;

/** Runs steps of an open transaction. */
export type RunStep = (step: StepInput) => Promise<Record<string, unknown>>;

/**
 * Changes one target in a transaction: all steps and then the commit, or everything is put back and the error thrown.
 * With `create`, the target must be new, or be this resource's already (after an update that died right at its end).
 * The lease is renewed meanwhile; when this process dies, the agent undoes the change by itself.
 *
 * @param work what it does; its signal also aborts when the agent has undone the change by itself
 */
export async function inTransaction(
  client: AgentClient,
  target: Target,
  context: Context,
  work: (run: RunStep, signal: AbortSignal) => Promise<void>,
  { create = false, undoDeadlineMs = UNDO_DEADLINE_MS }: { create?: boolean; undoDeadlineMs?: number } = {},
): Promise<void> {
  context.signal.throwIfAborted();
  const { id } = await client.begin({ target, owner: ownerOf(context), leaseMs: DEFAULT_LEASE_MS, create });
  const lost = new AbortController();
  const signal = AbortSignal.any([context.signal, lost.signal]);
  const renewal = keepLease(client, id, lost);
  let committing = false;
  try {
    await work((step) => client.step(id, step, (event) => progress(event, context), signal), signal);
    signal.throwIfAborted();
    committing = true;
    await commit(client, id, target);
  } catch (error) {
    const outcome = await undo(client, id, target, { reason: messageOf(error), committing, undoDeadlineMs }, context);
    if (outcome !== COMMITTED) throw new Error(`${messageOf(error)}\n${outcome}`);
    context.log.warn(`${target} is committed, although its agent did not say so at once: ${messageOf(error)}`);
  } finally {
    clearInterval(renewal);
  }
}

function keepLease(client: AgentClient, id: string, lost: AbortController): NodeJS.Timeout {
  return setInterval(() => {
    client.renew(id).catch((error: unknown) => {
      // An agent that can't be reached once may answer the next time, before the lease has run out.
      if (error instanceof AgentError && !(error instanceof UnreachableError)) lost.abort(error);
    });
  }, DEFAULT_LEASE_MS / RENEWALS_PER_LEASE);
}

async function commit(client: AgentClient, id: string, target: Target): Promise<void> {
  try {
    await client.commit(id);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    if (!(await wasCommitted(client, id)))
      throw new Error(`the agent went away while ${target} was being committed, and did not commit it`);
  }
}

/** How a commit ended whose answer was lost. Throws when the agent does not come back in time. */
async function wasCommitted(client: AgentClient, id: string): Promise<boolean> {
  const deadline = performance.now() + OUTCOME_DEADLINE_MS;
  for (;;) {
    try {
      return (await client.transaction(id)).state === "committed";
    } catch (error) {
      if (error instanceof AgentError && error.code === "unknown-transaction") return false;
      if (!(error instanceof UnreachableError) || performance.now() > deadline) throw error;
    }
    await sleep(OUTCOME_POLL_MS);
  }
}

const COMMITTED = Symbol("committed");

/** Undoes the transaction and says how that went, or that it is committed: then there is nothing to undo. */
async function undo(
  client: AgentClient,
  id: string,
  target: Target,
  { reason, committing, undoDeadlineMs }: { reason: string; committing: boolean; undoDeadlineMs: number },
  context: Context,
): Promise<string | typeof COMMITTED> {
  try {
    const { state, delay } = await patientAbort(client, id, reason.split("\n")[0] ?? reason, undoDeadlineMs, context);
    if (state === "committed") return COMMITTED;
    if (state === "undone") return `${target} is as it was before: the change was undone.`;
    return `${target} is being put back by its agent, which does not give up: ${delay ?? "its last step has not ended yet"}`;
  } catch (error) {
    if (error instanceof AgentError && error.code === "committed") return COMMITTED;
    if (error instanceof AgentError && error.code === "unknown-transaction")
      return `${target} is as it was before: its agent had stopped in between, and undid the change when it started again.`;
    if (error instanceof UnreachableError && committing)
      return `The agent can't be asked how the commit ended (${messageOf(error)}): once it runs, a preview shows whether ${target} is as it was before or as it was to be; it is one of the two.`;
    if (error instanceof UnreachableError)
      return `The agent can't be told to undo the change (${messageOf(error)}); it does so by itself as soon as it runs, within ${DEFAULT_LEASE_MS / 1000} s.`;
    return `The change could not be undone at once: ${messageOf(error)}`;
  }
}

/** Asks for the undo until it is done or the deadline has come, showing meanwhile what it waits for. */
async function patientAbort(client: AgentClient, id: string, reason: string, deadlineMs: number, { log }: Context) {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const status = await client.abort(id, reason, UNDO_POLL_MS);
    if (status.state !== "undoing" || performance.now() > deadline) return status;
    log.progress(`undoing: ${status.delay ?? "waiting for the last step"}`);
  }
}

function progress({ message }: AgentEvent, { log }: Context): void {
  log.progress(message);
}

function ownerOf({ urn }: Context) {
  return { who: `${userInfo().username}@${hostname()}`, why: urn, pid: process.pid };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
