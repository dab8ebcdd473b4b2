import type { PlannedStage } from "../model/evidence/note";
import type { EvidenceRecord } from "../model/evidence/record";

/**
 * How far a stage came: `passed`; `watched` now; `breached` by one of its gates; `refused` by one before anything of it began;
 * `stopped` in the middle of it for another reason; not `reached`.
 */
export type StageState = "passed" | "watched" | "breached" | "refused" | "stopped" | "not reached";

export interface StageOutcome {
  stage: string;
  state: StageState;
  /** Time in it, in milliseconds. */
  tookMs?: number | undefined;
  /** Time that it was to be watched, in milliseconds. */
  windowMs?: number | undefined;
}

/** The stages that a change was to go through, in order, and how far each of them came. */
export function stageOutcomes({ plan, marks, gates, verdict, endedAt }: EvidenceRecord): StageOutcome[] {
  const entered = marks.filter(({ kind }) => kind === "stage");
  const stages: PlannedStage[] = plan ?? entered.map(({ stage, text }) => ({ stage: stage ?? text }));
  const undo = marks.find(({ kind }) => kind === "undo")?.at ?? endedAt;
  return stages.map(({ stage, windowMs }, index): StageOutcome => {
    const at = entered.findIndex((mark) => mark.stage === stage);
    const begun = entered[at];
    const breached = gates.some((gate) => gate.stage === stage && gate.outcome === "breach");
    if (begun === undefined) return { stage, state: breached ? "refused" : "not reached", windowMs };
    const next = entered[at + 1];
    const end = next?.at ?? undo;
    const took = { tookMs: end === undefined ? undefined : Math.max(0, end - begun.at), windowMs };
    if (breached) return { stage, state: "breached", ...took };
    const after = stages[index + 1]?.stage;
    const left = next !== undefined || gates.some((gate) => gate.stage === after);
    if (left || verdict === "committed") return { stage, state: "passed", ...took };
    return { stage, state: verdict === "running" ? "watched" : "stopped", ...took };
  });
}
