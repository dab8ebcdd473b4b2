import { type Rollout, type Stage, type StagePosition, splitGates } from "../../model/route/stages";
import { milliseconds } from "../../model/types/duration";
import type { RunGates, StageContext } from "./stage-gates";

export interface StageRunOptions extends Omit<StageContext, "spec"> {
  /** Name of the subject for messages, such as `route api`. */
  subject: string;
  /** The spec at a position. */
  specAt(position: StagePosition): StageContext["spec"];
  /** Moves to a position, and checks that it holds. */
  moveTo(position: StagePosition): Promise<void>;
  runGates: RunGates;
  /**
   * Called when a gate failed in a stage which had requests: one that only refuses entry leaves the requests where they
   * are.
   */
  breached(): void;
}

/** Runs the stages of a rollout, each through its window and gates. Rejects at the first gate that fails. */
export async function runStages(
  { steps, from }: Rollout,
  { subject, specAt, moveTo, runGates, breached, unchangedSince, ...context }: StageRunOptions,
): Promise<void> {
  const { signal, sendNote = () => undefined } = context;
  if (steps.length > 0)
    sendNote({
      kind: "plan",
      stages: steps.map(({ stage, split }) => ({ stage: stage.name, split, windowMs: milliseconds(stage.window) })),
    });
  let entered: Pick<StageContext, "spec" | "unchangedSince"> = { spec: specAt(from), unchangedSince };
  for (const { stage, split } of steps) {
    const watch = (part: Partial<Stage>) =>
      runGates({ ...stage, ...part }, { ...context, ...entered }).catch((error: unknown) => {
        signal.throwIfAborted();
        throw new Error(`stage ${stage.name} of ${subject}: ${(error as Error).message}`, { cause: error });
      });
    const { before, within } = splitGates(stage.gates);
    if (before.length > 0) await watch({ gates: before, window: "0 seconds" });
    const position = { split, stage: stage.name };
    await moveTo(position);
    entered = { spec: specAt(position), unchangedSince: Date.now() };
    sendNote({ kind: "stage", at: Date.now(), stage: stage.name, split, windowMs: milliseconds(stage.window) });
    await watch({ gates: within }).catch((error: unknown) => {
      if (!signal.aborted) breached();
      throw error;
    });
  }
}
