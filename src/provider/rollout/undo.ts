import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../agent/client/client";
import { AgentError, UnreachableError } from "../../agent/client/connection";
import { butNotUp, DEFAULT_LEASE_MS } from "../../model/protocol/transaction";
import { messageOf } from "../../model/types/errors";
import type { Log } from "../server";

/** Time to wait for an undo, in milliseconds; its agent goes on by itself. */
export const UNDO_DEADLINE_MS = 30_000;
/** How often it is shown meanwhile what the undo waits for, in milliseconds. */
const UNDO_POLL_MS = 2000;
/** Time to wait for an agent that went away during a commit to come back and tell how it ended, in milliseconds. */
const OUTCOME_DEADLINE_MS = 30_000;
const OUTCOME_POLL_MS = 200;

/** A transaction on one agent. */
export interface Held {
  client: AgentClient;
  id: string;
  /** Name of its target, for people. */
  title: string;
}

export async function commit({ client, id, title }: Held): Promise<void> {
  try {
    await client.commit(id);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    if (!(await wasCommitted(client, id)))
      throw new Error(`the agent went away while ${title} was being committed, and did not commit it`);
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

/** How an undo went: it is done, or goes on, or there was nothing to undo since it is committed. */
export interface Undone {
  state: "undone" | "going on" | "committed";
  text: string;
}

/** Undoes the transaction and says how that went. */
export async function undo(
  { client, id, title }: Held,
  { reason, committing, deadlineMs }: { reason: string; committing: boolean; deadlineMs: number },
  log: Log,
): Promise<Undone> {
  const committed = { state: "committed" as const, text: `${title} is committed.` };
  const goingOn = (text: string) => ({ state: "going on" as const, text });
  try {
    const { state, delay, notUp } = await patientAbort(client, id, reason.split("\n")[0] ?? reason, deadlineMs, log);
    if (state === "committed") return committed;
    if (state === "undone") {
      const text = `${title} is as it was before: the change was undone${butNotUp(notUp)}.`;
      return { state, text };
    }
    return goingOn(
      `${title} is being put back by its agent, which does not give up: ${delay ?? "its last step has not ended yet"}`,
    );
  } catch (error) {
    if (error instanceof AgentError && error.code === "committed") return committed;
    if (error instanceof AgentError && error.code === "unknown-transaction")
      return {
        state: "undone",
        text: `${title} is as it was before: its agent had stopped in between, and undid the change when it started again; sluice status shows whether all of it is up.`,
      };
    if (error instanceof UnreachableError && committing)
      return goingOn(
        `The agent can't be asked how the commit ended (${error.message}): once it runs, a preview shows whether ${title} is as it was before or as it was to be; it is one of the two.`,
      );
    if (error instanceof UnreachableError)
      return goingOn(
        `The agent can't be told to undo the change (${error.message}); it does so by itself as soon as it runs, within ${DEFAULT_LEASE_MS / 1000} s.`,
      );
    return goingOn(`The change could not be undone at once: ${messageOf(error)}`);
  }
}

/** Asks for the undo until it is done or the deadline has come, showing meanwhile what it waits for. */
async function patientAbort(client: AgentClient, id: string, reason: string, deadlineMs: number, log: Log) {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const status = await client.abort(id, reason, UNDO_POLL_MS);
    if (status.state !== "undoing" || performance.now() > deadline) return status;
    log.progress(`undoing: ${status.delay ?? "waiting for the last step"}`);
  }
}
