import type { AgentClient } from "../../agent/client/client";
import { AgentError, UnreachableError } from "../../agent/client/connection";

/** Renewals per lease: two may be lost before it runs out. */
const RENEWALS_PER_LEASE = 3;

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
  const timer = setInterval(() => {
    const askedAt = performance.now();
    client.renew(id).then(
      () => {
        renewedAt = Math.max(renewedAt, askedAt);
      },
      (error: unknown) => {
        // An agent that can't be reached once may answer the next time, before the lease has run out.
        const gone = error instanceof AgentError && !(error instanceof UnreachableError);
        if (gone || performance.now() - renewedAt > leaseMs) lost(error as Error);
      },
    );
  }, leaseMs / RENEWALS_PER_LEASE);
  return () => clearInterval(timer);
}
