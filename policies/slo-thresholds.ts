import { z } from "zod";
import { isMetered, type PrometheusSliGate } from "../src/model/gate/gate";
import { isRatio, type SliMetric } from "../src/model/gate/sli";
import { parseThreshold, type Threshold, threshold } from "../src/model/gate/threshold";
import { type Finding, policy } from "./support/policy";
import { type RolloutStep, rolloutOf, stepsOfPool } from "./support/rollout";

export const sloThresholds = policy({
  name: "slo-thresholds",
  description: "Gates hold a candidate to the service level that its users are promised.",
  level: "mandatory",
  config: z.strictObject({
    slo: z
      .array(threshold)
      .default([])
      .describe('Objectives of all routes and pools, such as "5xx < 1 %"; their own slo goes before, metric by metric'),
  }),
  judge: {
    Route: (inputs, { config }) => judge(rolloutOf(inputs).steps, inputs.slo, config.slo),
    Pool: (inputs, { config }) => judge(stepsOfPool(inputs), inputs.slo, config.slo),
  },
});

function judge(
  steps: readonly RolloutStep[],
  declared: (string | undefined)[] | undefined,
  common: string[],
): Finding[] {
  if (steps.length === 0) return [];
  const own = objectives((declared ?? []).filter((text) => text !== undefined));
  const others = objectives(common).filter(({ metric }) => !own.some((objective) => objective.metric === metric));
  const slo = [...own, ...others];
  const limits = steps.flatMap(limitsOf);
  return [
    ...limits.flatMap((limit) => looser(limit, slo)),
    ...slo.flatMap((objective) => unwatched(objective, limits, steps)),
  ];
}

interface Limit extends Threshold {
  at: string;
  text: string;
}
type Objective = Threshold & { text: string };

function objectives(texts: readonly string[]): Objective[] {
  return texts.flatMap((text) => {
    const parsed = parseThreshold(text);
    return typeof parsed === "string" ? [] : [{ ...parsed, text }];
  });
}

/** The limits that a stage's gates hold the candidate to, as far as they say what they measure. */
function limitsOf({ at, stage }: RolloutStep): Limit[] {
  return stage.gates.flatMap((gate, index): Limit[] => {
    const place = `${at}.gates[${index}]`;
    if (isMetered(gate))
      return objectives(gate.thresholds).map((limit, position) => ({
        ...limit,
        at: `${place}.thresholds[${position}]`,
      }));
    return gate.kind === "sli" && gate.source === "prometheus" ? fromTemplate(gate, place) : [];
  });
}

/** A Prometheus gate that is written as a quantile or as a share of errors; a query of its own says nothing. */
function fromTemplate({ quantile, errorRatio, must }: PrometheusSliGate, place: string): Limit[] {
  const metric =
    quantile === undefined ? (errorRatio === undefined ? undefined : "5xx") : `p${quantile.quantile * 100}`;
  return objectives([`${metric} ${must}`]).map((limit) => ({ ...limit, at: `${place}.must` }));
}

function looser(limit: Limit, slo: readonly Objective[]): Finding[] {
  return slo
    .filter(({ metric }) => metric === limit.metric)
    .filter((objective) => !isWithin(limit, objective))
    .map(({ text }) => ({
      at: limit.at,
      message: `"${limit.text}" is looser than the service level "${text}": tighten it`,
    }));
}

function isWithin(limit: Threshold, objective: Threshold): boolean {
  return (
    limit.limit < objective.limit || (limit.limit === objective.limit && (objective.inclusive || !limit.inclusive))
  );
}

/** An objective that no gate on the way holds the candidate to is the loosest limit of all. */
function unwatched(objective: Objective, limits: readonly Limit[], steps: readonly RolloutStep[]): Finding[] {
  if (limits.some(({ metric }) => covers(metric, objective.metric))) return [];
  return [
    {
      at: steps.at(-1)?.at,
      message: `no gate on the way watches the service level "${objective.text}": add it to the thresholds of an sli gate`,
    },
  ];
}

/** Whether a limit on one metric is one on the other, too: `errors` has all of `5xx`, and `p99` is never below `p95`. */
function covers(metric: SliMetric, other: SliMetric): boolean {
  if (metric === other) return true;
  if (isRatio(metric) || isRatio(other)) return metric === "errors" && other === "5xx";
  const [a, b] = [quantileOf(metric), quantileOf(other)];
  return (a.total || !b.total) && a.share >= b.share;
}

function quantileOf(metric: string): { total: boolean; share: number } {
  return { total: metric.startsWith("total "), share: Number(metric.slice(metric.indexOf("p") + 1)) };
}
