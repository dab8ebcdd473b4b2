import type { Staged } from "../../model/stages";

export interface AfterBreach {
  onBreach: Staged["onBreach"];
  /** What walks, such as `route api`. */
  what: string;
  /** Leads all requests to the stable side, once the undo is done, and names that; nothing where it has them already. */
  retreat(breach: string): Promise<string | undefined>;
}

/**
 * Runs a walk. Where a gate fails in a stage that had requests, the walk is undone to where it began; with `onBreach: "stable"` all
 * requests are led to the stable side after that. The walk rejects in both cases, and says what was done.
 *
 * @param walk the walk, which calls what it is given at such a breach
 */
export async function walkOrRetreat(
  { onBreach, what, retreat }: AfterBreach,
  walk: (breached: () => void) => Promise<void>,
): Promise<void> {
  let breached = false;
  try {
    await walk(() => {
      breached = true;
    });
  } catch (error) {
    if (!breached || onBreach !== "stable") throw error;
    const { message } = error as Error;
    throw await retreat(message).then(
      (stable) =>
        stable === undefined
          ? error
          : new Error(`${message}\nThen all requests of ${what} went to ${stable}, as onBreach says.`),
      (failed: Error) =>
        new Error(
          `${message}\nThe requests of ${what} could not all be led to the stable side, as onBreach says: ${failed.message}`,
        ),
    );
  }
}
