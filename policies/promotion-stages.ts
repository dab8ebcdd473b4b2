import { z } from "zod";
import { formatSplit, type Percent, parsePercent, percent, SPLIT_PARTS } from "../src/model/route/split";
import { milliseconds } from "../src/model/types/duration";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy } from "./support/policy";
import { candidateRollout, type Rollout, type RolloutStep, rolloutOf } from "./support/rollout";

export const promotionStages = policy({
  name: "promotion-stages",
  description: "A candidate's share of the requests rises in small steps, and each is watched for a while.",
  level: "mandatory",
  config: z.strictObject({
    factor: z.number().min(1).default(10).describe("Largest factor by which a stage may raise the candidate's share"),
    first: percent.default("10%").describe("Largest share that a candidate without requests may begin with"),
  }),
  judge: {
    Route: (inputs, { config }) => steep(rolloutOf(inputs), limitsOf(config)),
    Pool: (inputs, { config }) => [
      ...steep(candidateRollout(inputs), limitsOf(config)),
      ...finished(inputs, limitsOf(config)),
    ],
  },
});

interface Limits {
  /** In 1/10,000. */
  first: number;
  factor: number;
}

function limitsOf({ first, factor }: { first: Percent; factor: number }): Limits {
  return { first: parsePercent(first) ?? 0, factor };
}

function steep({ from, steps }: Rollout, limits: Limits): Finding[] {
  return steps.flatMap((step, index) => [
    ...jump({ ...step, at: `${step.at}.split` }, index === 0 ? from : (steps[index - 1]?.split ?? 0), limits),
    ...skipped(step),
  ]);
}

/** A candidate that becomes its pool's release gets all other requests at once. */
function finished({ change }: Unsure<Judged["Pool"]>, limits: Limits): Finding[] {
  const had = parsePercent(change?.candidate?.finished ?? "");
  return had === undefined ? [] : jump({ at: "release.id", split: SPLIT_PARTS }, had, limits);
}

function jump({ at, split }: Pick<RolloutStep, "at" | "split">, before: number, { first, factor }: Limits): Finding[] {
  const [share, was] = [formatSplit(split), formatSplit(before)];
  if (before === 0)
    return split <= first
      ? []
      : [
          {
            at,
            message: `${share} is a candidate's first share, above ${formatSplit(first)}: put a smaller stage before it`,
          },
        ];
  if (split <= before * factor) return [];
  const between = formatSplit(Math.min(Math.floor(before * factor), SPLIT_PARTS));
  return [
    {
      at,
      message: `${was} to ${share} is a jump by a factor of ${Number((split / before).toPrecision(3))}, above ${factor}: put a stage such as "${between}" between them`,
    },
  ];
}

/** A stage without requests for the candidate, or copies of any, has nothing to be watched for. */
function skipped({ at, stage, split }: RolloutStep): Finding[] {
  if (milliseconds(stage.window) > 0 || (split === 0 && stage.mirror === undefined)) return [];
  return [
    {
      at: `${at}.window`,
      message: `${stage.window} skips stage ${stage.name}: give it time to be watched, or remove the stage`,
    },
  ];
}
