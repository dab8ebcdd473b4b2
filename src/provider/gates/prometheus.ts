import { z } from "zod";
import type { PrometheusSliGate } from "../../model/gate/gate";
import { compares, comparisonOf, errorRatioQuery, quantileQuery } from "../../model/gate/promql";
import type { Probe } from "../../model/gate/verdict";
import { type ProbeContext, probeResult } from "./context";
import { get, withoutPassword } from "./fetch";

const sample = z.tuple([z.number(), z.string()]);
const success = z.object({
  status: z.literal("success"),
  data: z.discriminatedUnion("resultType", [
    z.object({ resultType: z.literal("scalar"), result: sample }),
    z.object({
      resultType: z.literal("vector"),
      result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: sample })),
    }),
    z.object({ resultType: z.literal("matrix") }),
    z.object({ resultType: z.literal("string") }),
  ]),
});
const failure = z.object({ status: z.literal("error"), errorType: z.string(), error: z.string() });

/** Something is wrong with the query or the address: no retry will mend it. */
class BadQuery extends Error {}

interface Value {
  labels: Record<string, string>;
  value: number;
}

/** The PromQL of a gate. */
function queryOf(gate: Pick<PrometheusSliGate, "query" | "quantile" | "errorRatio">): string {
  if (gate.quantile !== undefined) return quantileQuery(gate.quantile);
  return gate.errorRatio === undefined ? (gate.query ?? "") : errorRatioQuery(gate.errorRatio);
}

/**
 * Asks a Prometheus server for the values of a query now (https://prometheus.io/docs/prometheus/latest/querying/api/).
 *
 * @throws BadQuery where the server says that the query is none; Error where it gives no answer that can be read
 */
export async function queryPrometheus(url: string, query: string, signal: AbortSignal): Promise<Value[]> {
  const base = url.endsWith("/") ? url : `${url}/`;
  const where = new URL("api/v1/query", base);
  where.searchParams.set("query", query);
  const { status, type, text } = await get(where.href, signal);
  const name = withoutPassword(base);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    const what =
      /html/i.test(type) || /^\s*</.test(text) ? "a web page (HTML)" : `${type || "something"} that is no JSON`;
    const message = `${name} answered ${status} with ${what}: is it the address of a Prometheus server?`;
    // A proxy in front of a server that is down answers so too.
    throw status >= 500 ? new Error(message) : new BadQuery(message);
  }
  const failed = failure.safeParse(json);
  if (failed.success) {
    const { errorType, error } = failed.data;
    if (errorType === "bad_data") throw new BadQuery(`Prometheus refuses ${JSON.stringify(query)}: ${error}`);
    throw new Error(`${name} could not evaluate the query: ${error}`);
  }
  const parsed = success.safeParse(json);
  if (!parsed.success)
    throw new BadQuery(`${name} answered ${status} with JSON that is not Prometheus': is the address right?`);
  const { data } = parsed.data;
  if (data.resultType === "scalar") return [{ labels: {}, value: numberOf(data.result[1]) }];
  if (data.resultType === "vector")
    return data.result.map(({ metric, value }) => ({
      labels: metric,
      value: numberOf(value[1]),
    }));
  throw new BadQuery(
    `${JSON.stringify(query)} gives a ${data.resultType}: write one that gives a number, such as rate(...)`,
  );
}

/** Prometheus writes `+Inf`, `-Inf` and `NaN`. */
function numberOf(text: string): number {
  return Number(text.replace("Inf", "Infinity"));
}

/** Judges every series that the query gives. No series, or NaN, gives no verdict. */
export async function probePrometheus(gate: PrometheusSliGate, { signal }: ProbeContext): Promise<Probe> {
  const values = await queryPrometheus(gate.url, queryOf(gate), signal);
  if (values.length === 0)
    return probeResult("unavailable", "the query gives no series: is there data, and is the metric's name right?");
  const title = ({ labels }: Value) => {
    const pairs = Object.entries(labels).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    return pairs.length === 0 ? "value" : pairs.join(",");
  };
  const record = Object.fromEntries(values.map((one) => [title(one), one.value]));
  const bad = values.filter(({ value }) => !Number.isNaN(value) && !compares(comparisonOf(gate.must), value));
  const text = (one: Value) => `${title(one)} ${Number(one.value.toPrecision(4))}`;
  if (bad.length > 0) return probeResult("fail", `${bad.map(text).join(", ")} is not ${gate.must}`, record);
  const unknown = values.filter(({ value }) => !Number.isFinite(value));
  if (unknown.length > 0)
    return probeResult(
      "unavailable",
      `${unknown.map(text).join(", ")} is not a number: there is no data to compute it from`,
    );
  return probeResult("pass", `${values.map(text).join(", ")} ${gate.must}`, record);
}

/**
 * Checks a gate's query for a preview: a `problem` that no retry will fix, or a `warning`; undefined if it is right.
 */
export async function checkQuery(
  gate: PrometheusSliGate,
  signal: AbortSignal,
): Promise<{ problem?: string; warning?: string }> {
  try {
    const values = await queryPrometheus(gate.url, queryOf(gate), signal);
    if (values.length > 0) return {};
    return { warning: `${JSON.stringify(queryOf(gate))} gives no series now: is the metric's name right?` };
  } catch (error) {
    const message = (error as Error).message;
    return error instanceof BadQuery ? { problem: message } : { warning: `its query could not be checked: ${message}` };
  }
}
