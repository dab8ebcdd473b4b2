import { type Percent, parsePercent, SPLIT_PARTS } from "../../src/model/route/split";
import { planRollout, type Stage, type StagePosition, splitOf } from "../../src/model/route/stages";
import type { Judged, Unsure } from "./judged";

/** A stage that an update goes through, with its path in the declaration. */
export interface RolloutStep {
  stage: Stage;
  /** `stages[2]`, `canary.stages[2]` */
  at: string;
  /** In 1/10,000. */
  split: number;
}

/** The rollout of a promotion: the split at which it begins, in 1/10,000, and its stages. */
export interface Rollout {
  from: number;
  steps: RolloutStep[];
}

type Staged = Pick<Unsure<Judged["Route"]>, "stages" | "stage">;

/** The stages that an update of a route goes through; none on the way down, or while that is not known yet. */
export function rolloutOf({ change, ...declared }: Unsure<Judged["Route"]>): Rollout {
  const from = { split: shareOf(change?.from), stage: change?.stage?.from };
  return rolloutFrom(from, change?.kind === "promotion" ? declared : undefined, "stages");
}

/** Likewise those of a pool's candidate. */
export function candidateRollout({ change, canary }: Unsure<Judged["Pool"]>): Rollout {
  const from = { split: shareOf(change?.candidate?.from) };
  const rises = shareOf(change?.candidate?.to) > from.split && change?.kind !== "rollback";
  return rolloutFrom(from, rises ? canary : undefined, "canary.stages");
}

function rolloutFrom(from: StagePosition, promoted: Staged | undefined, at: string): Rollout {
  const { stages, stage } = promoted ?? {};
  if (stages === undefined || stage === undefined) return { from: from.split, steps: [] };
  // A change that is known was computed from stages that are known.
  const declared = stages as Stage[];
  if (splitOf(declared, stage) === undefined) return { from: from.split, steps: [] };
  const { steps } = planRollout(declared, from, stage);
  return { from: from.split, steps: steps.map((step) => ({ ...step, at: `${at}[${declared.indexOf(step.stage)}]` })) };
}

function shareOf(text: Percent | undefined): number {
  return parsePercent(text ?? "") ?? 0;
}

/** All that an update of a pool watches: its candidate's stages, and the window of a release in place. */
export function stepsOfPool(pool: Unsure<Judged["Pool"]>): RolloutStep[] {
  return [...candidateRollout(pool).steps, ...watchOf(pool)];
}

/** The window of a release in place, as the one stage that it is; nothing where none goes forward, or one follows a canary. */
function watchOf({ change, strategy, watch }: Unsure<Judged["Pool"]>): RolloutStep[] {
  const { window, gates } = watch ?? {};
  if (change?.kind !== "promotion" || strategy !== "in-place" || window === undefined || !gates?.length) return [];
  const stage = { name: change.to ?? "", split: "100%", window, gates: gates as Stage["gates"] } as const;
  return [{ stage, at: "watch", split: SPLIT_PARTS }];
}
