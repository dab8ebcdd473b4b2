import { withTimeout } from "../../support/waiting";
import type { Supervisor } from "../pools/supervise/supervisor";

/** Time that an undo waits for the processes that it started; less than a deployment waits for the undo. In milliseconds. */
const UP_WAIT_MS = 20_000;

/**
 * Waits until what an undo started is up, or did not come up at its first try.
 *
 * @param waiting told what is not up yet, whenever that changes
 * @returns a line that names the processes that are not up at the end; undefined if all are
 */
export async function untilUp(
  supervisor: Supervisor,
  pools: readonly string[],
  waiting: (what: string | undefined) => void = () => undefined,
): Promise<string | undefined> {
  const notUp = () => pools.flatMap((pool) => supervisor.notReadyText(pool)).join("; ") || undefined;
  waiting(notUp());
  const starts = pools.flatMap((pool) => supervisor.pendingReadiness(pool));
  await withTimeout(
    Promise.all(starts.map((start) => start.then(() => waiting(notUp())))),
    UP_WAIT_MS,
    () => undefined,
  );
  return notUp();
}
