import type { TransactionStatus } from "../api/answers";
import { ApiError } from "../api/api-error";

/** A half-done step must neither go on (traffic would move to a release that did not start) nor be committed. */
export function assertWhole(
  { target, failed }: Pick<TransactionStatus, "target"> & { failed?: string | undefined },
  what: string,
): void {
  if (failed !== undefined)
    throw new ApiError(409, "failed-step", `the transaction on ${target} can't ${what}, since its ${failed}: abort it`);
}

/** That another transaction has the target. */
export function held({ target, owner, since, state, delay }: TransactionStatus): ApiError {
  const whose = `a transaction of ${owner.who} (process ${owner.pid})`;
  const message =
    state === "undoing"
      ? `${target} is held: ${whose} of ${since}, for ${owner.why}, is being undone${delay === undefined ? "" : ` (${delay})`}; wait for it`
      : `${target} is held: ${whose} runs since ${since}, for ${owner.why}; wait for it, or end that process: its lease runs out by itself`;
  return new ApiError(409, "held", message, { owner, since });
}

/** That nobody knows of a transaction. */
export function unknown(id: string): ApiError {
  return new ApiError(
    404,
    "unknown-transaction",
    `transaction ${id} is not known to this agent: it was undone, or ended long ago`,
  );
}

/** That an agent which ends opens no transaction. */
export function agentStopping(target: string, why: string): ApiError {
  return new ApiError(503, "stopping", `no transaction is opened on ${target}: ${why}; start it again first`);
}

/** That a transaction can't be undone any more. */
export function alreadyCommitted({ id, target }: Pick<TransactionStatus, "id" | "target">): ApiError {
  return new ApiError(409, "committed", `transaction ${id} on ${target} is committed: it can't be undone by an abort`);
}
