import type { Staged } from "../../model/route/stages";

export interface RollBackOptions {
  onBreach: Staged["onBreach"];
  /** Name of the subject, such as `route api`. */
  subject: string;
  /** Leads all requests to the stable side, once the undo is done, and names that; undefined if it has them already. */
  rollBack(breach: string): Promise<string | undefined>;
}

/**
 * Runs a rollout. If a gate fails in a stage that had requests, the rollout is undone to where it began; with
 * `onBreach: "stable"` all requests then go to the stable side. It rejects in both cases, and says what was done.
 *
 * @param run the rollout, which calls its argument at such a breach
 */
export async function runOrRollBack(
  { onBreach, subject, rollBack }: RollBackOptions,
  run: (breached: () => void) => Promise<void>,
): Promise<void> {
  let breached = false;
  try {
    await run(() => {
      breached = true;
    });
  } catch (error) {
    if (!breached || onBreach !== "stable") throw error;
    const { message } = error as Error;
    throw await rollBack(message).then(
      (stable) =>
        stable === undefined
          ? error
          : new Error(`${message}\nThen all requests of ${subject} went to ${stable}, as onBreach says.`),
      (failed: Error) =>
        new Error(
          `${message}\nThe requests of ${subject} could not all be led to the stable side, as onBreach says: ${failed.message}`,
        ),
    );
  }
}
