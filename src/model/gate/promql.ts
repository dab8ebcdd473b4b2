import { z } from "zod";
import { type Duration, duration, milliseconds } from "../types/duration";
import { quoteValue } from "../types/messages";

const metricName = z.string().regex(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/, {
  error: ({ input }) => `${quoteValue(input)} is not the name of a metric: use letters, digits, "_" and ":"`,
});
const labels = z.record(z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/), z.string());
const over = duration({ min: "1 second", max: "30 days" }).default("5 minutes");

/** A histogram's quantile. */
export const quantileTemplate = z.strictObject({
  /** Name of the histogram, without `_bucket`. */
  metric: metricName,
  /** Share from 0 to 1, such as 0.95. */
  quantile: z.number().gt(0).lt(1),
  /** Labels that the series have. @default none */
  labels: labels.default({}),
  /** Time over which the rates are taken: at least four scrapes. @default "5 minutes" */
  over,
});

/** The share of a counter's increase that is of errors. */
export const errorRatioTemplate = z.strictObject({
  /** Name of the counter of all requests. */
  metric: metricName,
  labels: labels.default({}),
  /** Further labels of errors, as regular expressions. @default code "5.." */
  errors: labels.default({ code: "5.." }),
  over,
});

function selector(equal: Record<string, string>, match: Record<string, string> = {}): string {
  const parts = [
    ...Object.entries(equal).map(([key, value]) => `${key}=${JSON.stringify(value)}`),
    ...Object.entries(match).map(([key, value]) => `${key}=~${JSON.stringify(value)}`),
  ];
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

function range(over: Duration): string {
  return `[${milliseconds(over)}ms]`;
}

export function quantileQuery({ metric, quantile, labels, over }: z.output<typeof quantileTemplate>): string {
  return `histogram_quantile(${quantile}, sum by (le) (rate(${metric}_bucket${selector(labels)}${range(over)})))`;
}

/** Without any error there is no series of errors, which is 0; without any request there is no value. */
export function errorRatioQuery({ metric, labels, errors, over }: z.output<typeof errorRatioTemplate>): string {
  const all = `sum(rate(${metric}${selector(labels)}${range(over)}))`;
  return `(sum(rate(${metric}${selector(labels, errors)}${range(over)})) or ${all} * 0) / ${all}`;
}

/** A comparison with a number in Prometheus' base units (seconds, shares). */
export interface Comparison {
  sign: "<" | "<=" | ">" | ">=";
  limit: number;
}

const COMPARISON = /^(<=|<|>=|>) ?(-?\d+(?:\.\d+)?(?:e-?\d+)?) ?(ms|s|%)?$/;
const SCALE: Record<string, number> = { ms: 0.001, s: 1, "%": 0.01 };

/** Schema of `"< 500 ms"`, `"<= 0.5 %"` or `"> 3"`. It stays the text that somebody wrote. */
export const comparison = z.string().refine((text) => COMPARISON.test(text.trim()), {
  error: ({ input }) => notCompared(String(input)),
});

/** The comparison of a checked text. Throws where it is none. */
export function comparisonOf(text: string): Comparison {
  const [whole, sign = "", amount = "", unit = ""] = COMPARISON.exec(text.trim()) ?? [];
  if (whole === undefined) throw new Error(notCompared(text));
  return { sign: sign as Comparison["sign"], limit: Number(amount) * (SCALE[unit] ?? 1) };
}

function notCompared(text: string): string {
  return `${quoteValue(text)} is not a comparison: write a sign, a number and, where the value has one, its unit (ms, s or %), such as "< 500 ms"`;
}

/** Whether a value compares as it must; NaN never does. */
export function compares({ sign, limit }: Comparison, value: number): boolean {
  if (sign === "<") return value < limit;
  if (sign === "<=") return value <= limit;
  return sign === ">" ? value > limit : value >= limit;
}
