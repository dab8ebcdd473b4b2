import { milliseconds } from "../../model/duration";
import { type Place, partGates, type Stage, type Walk } from "../../model/stages";
import type { RunGates, StageContext } from "./stage-gates";

export interface Way extends Omit<StageContext, "spec"> {
  /** What walks, for messages, such as `route api`. */
  what: string;
  /** How it is at a place. */
  at(place: Place): StageContext["spec"];
  /** Goes to a place, and sees that it holds. */
  to(place: Place): Promise<void>;
  runGates: RunGates;
  /** Told that a gate failed in a stage which had requests: one that only refuses entry leaves the others to those who have them. */
  breached(): void;
}

/** Walks up the stages of a walk, each through its window and gates. Rejects at the first gate that fails, there. */
export async function walkLegs(
  { legs, from }: Walk,
  { what, at, to, runGates, breached, heldSince, ...context }: Way,
): Promise<void> {
  const { signal, tell = () => undefined } = context;
  if (legs.length > 0)
    tell({
      kind: "plan",
      stages: legs.map(({ stage, split }) => ({ stage: stage.name, split, windowMs: milliseconds(stage.window) })),
    });
  let held: Pick<StageContext, "spec" | "heldSince"> = { spec: at(from), heldSince };
  for (const { stage, split } of legs) {
    const watch = (part: Partial<Stage>) =>
      runGates({ ...stage, ...part }, { ...context, ...held }).catch((error: unknown) => {
        signal.throwIfAborted();
        throw new Error(`stage ${stage.name} of ${what}: ${(error as Error).message}`, { cause: error });
      });
    const { before: entry, within } = partGates(stage.gates);
    if (entry.length > 0) await watch({ gates: entry, window: "0 seconds" });
    const place = { split, stage: stage.name };
    await to(place);
    held = { spec: at(place), heldSince: Date.now() };
    tell({ kind: "stage", at: Date.now(), stage: stage.name, split, windowMs: milliseconds(stage.window) });
    await watch({ gates: within }).catch((error: unknown) => {
      if (!signal.aborted) breached();
      throw error;
    });
  }
}
