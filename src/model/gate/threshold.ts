import { z } from "zod";
import { quoteValue } from "../types/messages";
import { isRatio, SLI_METRICS, type SliMetric } from "./sli";

/** A limit that a metric must stay below. */
export interface Threshold {
  metric: SliMetric;
  /** Whether the limit itself is still good. */
  inclusive: boolean;
  /** A share from 0 to 1, or milliseconds. */
  limit: number;
}

const THRESHOLD = /^((?:total )?[a-z0-9]+) ?(<=|<|>=|>|=+) ?(-?[\d.]+) ?([a-z%]*)$/i;
const UNITS: Record<string, number> = { ms: 1, s: 1000 };

/** Reads `p95 < 500 ms` or `5xx < 0.5 %`. Returns the problem as a text if it is not a threshold. */
export function parseThreshold(text: string): Threshold | string {
  const match = THRESHOLD.exec(text.trim());
  const [, metric = "", sign = "", amount = "", unit = ""] = match ?? [];
  if (match === null)
    return `${quoteValue(text)} is not a threshold: write one such as "p95 < 500 ms" or "5xx < 0.5 %"`;
  if (!(SLI_METRICS as readonly string[]).includes(metric))
    return `${quoteValue(text)} is about ${quoteValue(metric)}, which is not measured: use one of ${SLI_METRICS.join(", ")}`;
  if (sign !== "<" && sign !== "<=")
    return `${quoteValue(text)} compares with ${quoteValue(sign)}: use "<" or "<=", since all of these are better when they are lower`;
  const known = metric as SliMetric;
  const value = Number(amount);
  if (!Number.isFinite(value) || value < 0) return `${quoteValue(text)} has no limit: write a number of at least 0`;
  const ratio = isRatio(known);
  const example = ratio ? `"${metric} ${sign} 0.5 %"` : `"${metric} ${sign} 500 ms"`;
  if (unit === "") return `${quoteValue(text)} has no unit: write one, such as ${example}`;
  if (ratio ? unit !== "%" : UNITS[unit] === undefined)
    return `${quoteValue(text)} has the unit ${quoteValue(unit)}, but ${metric} is ${ratio ? "a share in %" : "a time in ms or s"}: write it such as ${example}`;
  if (ratio && value > 100) return `${quoteValue(text)} is always true: use a share below 100 %`;
  return { metric: known, inclusive: sign === "<=", limit: ratio ? value / 100 : value * (UNITS[unit] ?? 1) };
}

/** Schema of a threshold. It stays the text that somebody wrote, in previews, states and policies too. */
export const threshold = z.string().superRefine((text, context) => {
  const parsed = parseThreshold(text);
  if (typeof parsed === "string") context.addIssue({ code: "custom", message: parsed });
});

/** The threshold of a checked text. Throws where it is none. */
export function thresholdOf(text: string): Threshold {
  const parsed = parseThreshold(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

/** Whether a value is within a threshold; NaN is not. */
export function holds({ inclusive, limit }: Threshold, value: number): boolean {
  return inclusive ? value <= limit : value < limit;
}

/** A value as people read it: `310 ms`, `0.12 %`. */
export function formatMetric(metric: SliMetric, value: number): string {
  if (isRatio(metric)) return `${Number((value * 100).toPrecision(3))} %`;
  return value >= 10_000 ? `${Number((value / 1000).toPrecision(3))} s` : `${Math.round(value)} ms`;
}

/** `p95 310 ms < 500 ms` where it holds or nothing was measured, `p95 812 ms, not < 500 ms` where it is broken. */
export function formatThreshold(threshold: Threshold, value: number | undefined): string {
  const { metric, inclusive, limit } = threshold;
  const shownValue = value === undefined ? "-" : formatMetric(metric, value);
  const relation = value === undefined || holds(threshold, value) ? "" : ", not";
  return `${metric} ${shownValue}${relation} ${inclusive ? "<=" : "<"} ${formatMetric(metric, limit)}`;
}
