import { parsePercent, SPLIT_PARTS } from "../../model/split";
import { planWalk, type Stage, splitOf } from "../../model/stages";
import type { Judged, Unsure } from "./judged";

/** A stage that an update walks through, with its place in the declaration. */
export interface Step {
  stage: Stage;
  /** `stages[2]` */
  at: string;
  /** In 1/10,000. */
  split: number;
}

/** The way of a promotion: where it begins, in 1/10,000, and the stages that it goes through. */
export interface Way {
  from: number;
  steps: Step[];
}

/** The stages that an update of a route walks up through; none on the way down, and where that is not known yet. */
export function wayOf({ stages, stage, change }: Unsure<Judged["Route"]>): Way {
  const from = parsePercent(change?.from ?? "") ?? 0;
  if (change?.kind !== "promotion" || stages === undefined || stage === undefined) return { from, steps: [] };
  // A change that is known was computed from stages that are known.
  const declared = stages as Stage[];
  if (splitOf(declared, stage) === undefined) return { from, steps: [] };
  const { legs } = planWalk(declared, { split: from }, stage);
  return {
    from,
    steps: legs.map((leg) => ({ ...leg, at: `stages[${declared.indexOf(leg.stage)}]` })),
  };
}

/** What an update of a pool that is replaced in place watches, as the one stage that it is; nothing where no release goes forward. */
export function watchOf({ change, strategy, watch }: Unsure<Judged["Pool"]>): Step[] {
  const { window, gates } = watch ?? {};
  if (change?.kind !== "promotion" || strategy !== "in-place" || window === undefined || gates === undefined) return [];
  const stage = { name: change.to ?? "", split: "100%", window, gates: gates as Stage["gates"] } as const;
  return [{ stage, at: "watch", split: SPLIT_PARTS }];
}
