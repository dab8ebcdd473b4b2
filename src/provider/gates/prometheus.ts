import { z } from "zod";
import { asksPrometheus, type Gate, nameOf, type PrometheusSliGate } from "../../model/gate/gate";
import { compares, comparisonOf, errorRatioQuery, quantileQuery } from "../../model/gate/promql";
import type { Probe } from "../../model/gate/verdict";
import { formatMilliseconds, milliseconds } from "../../model/types/duration";
import { messageOf } from "../../model/types/errors";
import { type ProbeContext, probeResult } from "./context";
import { get, withoutPassword } from "./fetch";
import { LOOKBACK_MS, reachOf } from "./promql-reach";

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

interface Value {
  labels: Record<string, string>;
  value: number;
}

/** Time in which a new series is scraped for the first time, in milliseconds. */
const FIRST_SCRAPE_MS = 60_000;

/** Something is wrong with the query or the address: no retry will mend it. */
class BadQuery extends Error {}

type Queried = Pick<PrometheusSliGate, "query" | "quantile" | "errorRatio">;

/** The PromQL of a gate. */
function queryOf(gate: Queried): string {
  if (gate.quantile !== undefined) return quantileQuery(gate.quantile);
  return gate.errorRatio === undefined ? (gate.query ?? "") : errorRatioQuery(gate.errorRatio);
}

/** Time from the begin of a watch until every sample that a gate's query can see is of that watch, in milliseconds. */
export function filledMsOf(gate: Queried): number {
  const { rangeMs, instants } = reachOf(queryOf(gate));
  return instants.length > 0 ? Math.max(rangeMs, LOOKBACK_MS) : rangeMs;
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
  const name = withoutPassword(base);
  const { status, type, text } = await get(where.href, signal, name);
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

/**
 * Judges every series that the query gives. No series, or NaN, gives no verdict, nor do samples of before the watch, which
 * are of what ran before.
 */
export async function probePrometheus(gate: PrometheusSliGate, context: ProbeContext): Promise<Probe> {
  const { signal, judgesPast = false, now, startedAt } = context;
  const query = queryOf(gate);
  // Before the values: a scrape between the two then makes those newer than they were taken for, not older.
  const early = judgesPast ? undefined : await earlierSamples(gate.url, query, context);
  const values = await queryPrometheus(gate.url, query, signal);
  if (early !== undefined) return probeResult("insufficient", early);
  if (values.length === 0 && !judgesPast && now - startedAt < FIRST_SCRAPE_MS)
    return probeResult("insufficient", "the query gives no series yet");
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

/** Why a query can't tell yet, since it sees samples of before the watch; undefined if it can. */
async function earlierSamples(
  url: string,
  query: string,
  { now, startedAt, signal }: ProbeContext,
): Promise<string | undefined> {
  const ageMs = now - startedAt;
  const { rangeMs, instants } = reachOf(query);
  if (ageMs < rangeMs)
    return `the query looks ${formatMilliseconds(rangeMs)} back, to before this watch: judged in ${formatMilliseconds(rangeMs - ageMs)}`;
  if (ageMs >= LOOKBACK_MS) return undefined;
  for (const selector of instants) {
    const [age] = await queryPrometheus(url, `time() - min(timestamp(${selector}))`, signal);
    if (age !== undefined && age.value * 1000 > ageMs)
      return `a sample of ${selector} is ${formatMilliseconds(Math.round(age.value * 1000))} old, of before this watch`;
  }
  return undefined;
}

/**
 * Checks a gate's query for a preview: a `problem` that no retry will fix, a `warning`, and for how long it is watched,
 * in milliseconds, where that is longer than the window; nothing if it is right.
 *
 * @param windowMs of the watch, in milliseconds; undefined where it is judged before anything is changed
 */
export async function checkQuery(
  gate: PrometheusSliGate,
  windowMs: number | undefined,
  signal: AbortSignal,
): Promise<{ problem?: string; warning?: string; heldMs?: number }> {
  const query = queryOf(gate);
  let values: Value[];
  try {
    values = await queryPrometheus(gate.url, query, signal);
  } catch (error) {
    const message = messageOf(error);
    return error instanceof BadQuery ? { problem: message } : { warning: `its query could not be checked: ${message}` };
  }
  const { rangeMs, problem } = reachOf(query);
  const warning =
    values.length === 0
      ? `${JSON.stringify(query)} gives no series now: is the metric's name right?`
      : windowMs !== undefined && problem !== undefined
        ? `${problem}: it is judged from ${formatMilliseconds(rangeMs)} on, and must look back no further`
        : undefined;
  const held = windowMs !== undefined && rangeMs > windowMs ? { heldMs: rangeMs } : {};
  return warning === undefined ? held : { warning, ...held };
}

/**
 * Asks the servers of gates, before anything is changed that would have to be undone without them.
 *
 * @throws with each that gives no answer
 */
export async function assertServersAnswer(gates: readonly Gate[], signal: AbortSignal): Promise<void> {
  const asked = gates.filter(asksPrometheus).map(async (gate) => {
    const timeout = AbortSignal.timeout(milliseconds(gate.timeout));
    try {
      await queryPrometheus(gate.url, queryOf(gate), AbortSignal.any([signal, timeout]));
      return [];
    } catch (error) {
      signal.throwIfAborted();
      const why = timeout.aborted ? `no answer within ${gate.timeout}` : messageOf(error);
      return [`gate ${nameOf(gate)}: ${why}`];
    }
  });
  const problems = (await Promise.all(asked)).flat();
  if (problems.length > 0) throw new Error(`nothing was changed, since no gate could judge it: ${problems.join("; ")}`);
}
