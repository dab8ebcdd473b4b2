import { z } from "zod";
import { milliseconds } from "../model/duration";
import { formatSplit, parsePercent, percent, SPLIT_PARTS } from "../model/split";
import { type Finding, policy } from "./support/policy";
import { type Step, wayOf } from "./support/walk";

export const promotionStages = policy({
  name: "promotion-stages",
  description: "A candidate's share of the requests rises in small steps, and each is watched for a while.",
  level: "mandatory",
  config: z.strictObject({
    factor: z.number().min(1).default(10).describe("How many times the share before a stage may give to the candidate"),
    first: percent.default("10%").describe("Largest share that a candidate without requests may begin with"),
  }),
  judge: {
    Route(inputs, { config }) {
      const { from, steps } = wayOf(inputs);
      const first = parsePercent(config.first) ?? 0;
      return steps.flatMap((step, index) => [
        ...jump(step, index === 0 ? from : (steps[index - 1]?.split ?? 0), { first, factor: config.factor }),
        ...skipped(step),
      ]);
    },
  },
});

function jump({ at, split }: Step, before: number, { first, factor }: { first: number; factor: number }): Finding[] {
  const [share, was] = [formatSplit(split), formatSplit(before)];
  if (before === 0)
    return split <= first
      ? []
      : [
          {
            at: `${at}.split`,
            message: `${share} is a candidate's first share, above ${formatSplit(first)}: put a smaller stage before it`,
          },
        ];
  if (split <= before * factor) return [];
  const between = formatSplit(Math.min(Math.floor(before * factor), SPLIT_PARTS));
  return [
    {
      at: `${at}.split`,
      message: `${was} to ${share} is a jump by a factor of ${Number((split / before).toPrecision(3))}, above ${factor}: put a stage such as "${between}" between them`,
    },
  ];
}

/** A stage without requests for the candidate, or copies of any, has nothing to be watched for. */
function skipped({ at, stage, split }: Step): Finding[] {
  if (milliseconds(stage.window) > 0 || (split === 0 && stage.mirror === undefined)) return [];
  return [
    {
      at: `${at}.window`,
      message: `${stage.window} skips stage ${stage.name}: give it time to be watched, or remove the stage`,
    },
  ];
}
