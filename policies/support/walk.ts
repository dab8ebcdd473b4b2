import { type Percent, parsePercent, SPLIT_PARTS } from "../../model/split";
import { type Place, planWalk, type Stage, splitOf } from "../../model/stages";
import type { Judged, Unsure } from "./judged";

/** A stage that an update walks through, with its place in the declaration. */
export interface Step {
  stage: Stage;
  /** `stages[2]`, `canary.stages[2]` */
  at: string;
  /** In 1/10,000. */
  split: number;
}

/** The way of a promotion: where it begins, in 1/10,000, and the stages that it goes through. */
export interface Way {
  from: number;
  steps: Step[];
}

type Staged = Pick<Unsure<Judged["Route"]>, "stages" | "stage">;

/** The stages that an update of a route walks up through; none on the way down, and where that is not known yet. */
export function wayOf({ change, ...declared }: Unsure<Judged["Route"]>): Way {
  const from = { split: shareOf(change?.from), stage: change?.stage?.from };
  return way(from, change?.kind === "promotion" ? declared : undefined, "stages");
}

/** Likewise those of a pool's candidate. */
export function candidateWay({ change, canary }: Unsure<Judged["Pool"]>): Way {
  const from = { split: shareOf(change?.candidate?.from) };
  const rises = shareOf(change?.candidate?.to) > from.split && change?.kind !== "rollback";
  return way(from, rises ? canary : undefined, "canary.stages");
}

function way(from: Place, walked: Staged | undefined, at: string): Way {
  const { stages, stage } = walked ?? {};
  if (stages === undefined || stage === undefined) return { from: from.split, steps: [] };
  // A change that is known was computed from stages that are known.
  const declared = stages as Stage[];
  if (splitOf(declared, stage) === undefined) return { from: from.split, steps: [] };
  const { legs } = planWalk(declared, from, stage);
  return { from: from.split, steps: legs.map((leg) => ({ ...leg, at: `${at}[${declared.indexOf(leg.stage)}]` })) };
}

function shareOf(text: Percent | undefined): number {
  return parsePercent(text ?? "") ?? 0;
}

/** All that an update of a pool watches: its candidate's stages, and the window of a release in place. */
export function stepsOfPool(pool: Unsure<Judged["Pool"]>): Step[] {
  return [...candidateWay(pool).steps, ...watchOf(pool)];
}

/** The window of a release in place, as the one stage that it is; nothing where none goes forward, or one follows a canary. */
function watchOf({ change, strategy, watch }: Unsure<Judged["Pool"]>): Step[] {
  const { window, gates } = watch ?? {};
  if (change?.kind !== "promotion" || strategy !== "in-place" || window === undefined || !gates?.length) return [];
  const stage = { name: change.to ?? "", split: "100%", window, gates: gates as Stage["gates"] } as const;
  return [{ stage, at: "watch", split: SPLIT_PARTS }];
}
