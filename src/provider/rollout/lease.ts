import type { AgentClient } from "../../agent/client/client";
import { AgentError, UnreachableError } from "../../agent/client/connection";

/** Renewals per lease: two may be lost before it runs out. */
const RENEWALS_PER_LEASE = 3;
/** Until an agent that could not be reached is asked again, in milliseconds: one that has started anew has undone its part. */
const RETRY_MS = 250;

/**
 * Renews a transaction's lease until it is stopped.
 *
 * @param lost told once why the change can't be held any more: the agent has undone it, or was silent for a whole lease
 */
export function keepLease(
  client: Pick<AgentClient, "renew">,
  id: string,
  leaseMs: number,
  lost: (error: Error) => void,
): () => void {
  let renewedAt = performance.now();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const next = (ms: number) => {
    if (!stopped) timer = setTimeout(() => void renew(), ms);
  };
  const renew = async (): Promise<void> => {
    const askedAt = performance.now();
    try {
      await client.renew(id);
      renewedAt = askedAt;
      next(leaseMs / RENEWALS_PER_LEASE);
    } catch (error) {
      if (stopped) return;
      // An agent that can't be reached once may answer the next time, before the lease has run out.
      const gone = error instanceof AgentError && !(error instanceof UnreachableError);
      if (gone || performance.now() - renewedAt > leaseMs) lost(error as Error);
      else next(RETRY_MS);
    }
  };
  next(leaseMs / RENEWALS_PER_LEASE);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
