import type { MeterSliGate, SoakGate } from "../../model/gate/gate";
import {
  bad,
  distribution,
  isRatio,
  measure,
  SHADOW,
  type SliAnswer,
  type SliMetric,
  samples,
} from "../../model/gate/sli";
import { compareProportions, compareQuantiles } from "../../model/gate/statistics";
import { formatMetric, formatThreshold, holds, thresholdOf } from "../../model/gate/threshold";
import type { Probe } from "../../model/gate/verdict";
import { formatMilliseconds, milliseconds } from "../../model/types/duration";
import { measured, type ProbeContext, probeResult, type RequestSelector } from "./context";

/** Share of a window that the meter must have run for, and of requests that it must have seen. */
const LEAST_COVERED = 0.95;
const MOST_LOST = 0.01;
/** The meter answers up to its last complete second: a window this much shorter than asked for is covered. */
const LAG_MS = 4000;
const HOUR_MS = 3_600_000;

/** Share of the copies that may not have come to the shadow. */
const MOST_DROPPED = 0.01;

/** Requests that a gate judges. */
function judged({ source }: MeterSliGate | SoakGate, { candidate }: ProbeContext): RequestSelector {
  return source === "mirror" ? { route: candidate.route, backend: SHADOW } : candidate;
}

/** Judges the candidate, or the shadow, by what the edges' meters have counted since the watch began, or over the time before. */
export async function probeMeter(gate: MeterSliGate, context: ProbeContext): Promise<Probe> {
  const { now, startedAt, stable } = context;
  const over = gate.over === undefined ? undefined : milliseconds(gate.over);
  const window = { from: Math.min(over === undefined ? startedAt : Math.max(startedAt, now - over), now - 1), to: now };
  const answer = await measured(context, judged(gate, context), window);
  const wrong = blind(answer, window) ?? (gate.source === "mirror" ? dropped(answer) : undefined);
  if (wrong !== undefined) return probeResult("unavailable", wrong);
  if (answer.counts.requests < gate.minRequests) return tooFew(answer, gate.minRequests);
  const absolute = judge(gate.thresholds, answer);
  if (absolute.verdict !== "pass" || gate.notWorseThanStable === undefined) return absolute;
  if (stable === undefined) return probeResult("insufficient", "there is no stable side to compare with");
  const other = await measured(context, stable, window);
  const blindOther = blind(other, window);
  if (blindOther !== undefined) return probeResult("unavailable", `of the stable side, ${blindOther}`);
  const relative = compare(gate.notWorseThanStable, answer, other, context.probes);
  return {
    ...relative,
    text: [absolute.text, relative.text].filter(Boolean).join("  "),
    values: { ...absolute.values, ...relative.values },
  };
}

/** Judges the time for which something was held, at once, from what was recorded. */
export async function probeSoak(gate: SoakGate, context: ProbeContext): Promise<Probe> {
  const { unchangedSince, now } = context;
  const wanted = milliseconds(gate.duration);
  if (unchangedSince === undefined) return probeResult("insufficient", `not held yet: ${gate.duration} are missing`);
  const missing = wanted - (now - unchangedSince);
  if (missing > 0)
    return probeResult(
      "insufficient",
      `held for ${formatMilliseconds(now - unchangedSince)}: ${formatMilliseconds(missing)} are missing`,
      {
        missingMs: missing,
      },
    );
  const window = { from: now - wanted, to: now };
  const answer = await measured(context, judged(gate, context), window);
  const wrong = blind(answer, window) ?? (gate.source === "mirror" ? dropped(answer) : undefined);
  if (wrong !== undefined) return probeResult("unavailable", wrong);
  if (answer.counts.requests < gate.minRequests) return tooFew(answer, gate.minRequests);
  for (let from = window.from; from < now - HOUR_MS; from += HOUR_MS) {
    const hour = await measured(context, judged(gate, context), { from, to: from + HOUR_MS });
    if (hour.counts.requests < gate.minRequests) continue;
    const probe = judge(gate.thresholds, hour);
    if (probe.verdict !== "pass")
      return { ...probe, text: `in the hour from ${new Date(from).toISOString()}: ${probe.text}` };
  }
  return judge(gate.thresholds, answer);
}

/** Reason why an answer allows no verdict; undefined if it does. */
function blind({ coveredMs, lost, counts }: SliAnswer, { from, to }: { from: number; to: number }): string | undefined {
  const due = to - from - LAG_MS;
  if (coveredMs < due * LEAST_COVERED)
    return `the meter ran for ${formatMilliseconds(coveredMs)} of ${formatMilliseconds(to - from)}`;
  const all = counts.requests + counts.aborted + lost;
  return lost > all * MOST_LOST ? `the meter missed ${lost} of ${all} requests` : undefined;
}

/** Why the shadow's answers say too little: too many copies never came to it. */
function dropped({ counts: { requests, aborted } }: SliAnswer): string | undefined {
  const all = requests + aborted;
  return aborted > all * MOST_DROPPED
    ? `${aborted} of ${all} copies were dropped on their way to the shadow`
    : undefined;
}

function tooFew({ counts: { requests } }: SliAnswer, least: number): Probe {
  return probeResult("insufficient", `${requests} of ${least} requests`, { requests });
}

/** Whether all thresholds hold; a metric without a sample has no verdict. */
function judge(thresholds: readonly string[], answer: SliAnswer): Probe {
  const read = thresholds
    .map(thresholdOf)
    .map((threshold) => ({ threshold, value: measure(answer, threshold.metric) }));
  const values = Object.fromEntries([
    ["requests", answer.counts.requests],
    ...read.flatMap(({ threshold: { metric }, value }) => (value === undefined ? [] : [[metric, value] as const])),
  ]);
  const text = (some: typeof read) => some.map(({ threshold, value }) => formatThreshold(threshold, value)).join("  ");
  const broken = read.filter(({ threshold, value }) => value !== undefined && !holds(threshold, value));
  if (broken.length > 0) return probeResult("fail", `${text(broken)} (${answer.counts.requests} requests)`, values);
  const empty = read.filter(({ value }) => value === undefined);
  return probeResult(empty.length > 0 ? "insufficient" : "pass", text(empty.length > 0 ? empty : read), values);
}

/**
 * Compares two sides. What is looked at many times is found worse by chance at some time: the chance of a false alarm is
 * divided among all looks and metrics (Bonferroni), so that the confidence is of the whole watch.
 */
function compare(
  { metrics, confidence, tolerance }: NonNullable<MeterSliGate["notWorseThanStable"]>,
  candidate: SliAnswer,
  stable: SliAnswer,
  probes: number,
): Probe {
  const alpha = (1 - confidence) / Math.max(1, probes) / metrics.length;
  const read = metrics.map((metric) => {
    const [value, other] = [measure(candidate, metric), measure(stable, metric)];
    const result = compareOne(metric, candidate, stable, { alpha, tolerance });
    const shown = (one: number | undefined) => (one === undefined ? "-" : formatMetric(metric, one));
    return { metric, result, value, other, text: `${metric} ${shown(value)} beside ${shown(other)}` };
  });
  const values = Object.fromEntries(
    read.flatMap(({ metric, value, other }) => [
      ...(value === undefined ? [] : [[metric, value] as const]),
      ...(other === undefined ? [] : [[`stable ${metric}`, other] as const]),
    ]),
  );
  const worse = read.filter(({ result }) => result === "worse");
  if (worse.length > 0)
    return probeResult(
      "fail",
      `worse than the stable side: ${worse.map(({ text }) => text).join(", ")} (${samples(candidate, "errors")} and ${samples(stable, "errors")} requests)`,
      values,
    );
  const few = read.filter(({ result }) => result === "too few");
  if (few.length > 0)
    return probeResult(
      "insufficient",
      `too few requests to compare ${few.map(({ metric }) => metric).join(", ")}`,
      values,
    );
  return probeResult("pass", read.map(({ text }) => text).join("  "), values);
}

function compareOne(
  metric: SliMetric,
  candidate: SliAnswer,
  stable: SliAnswer,
  options: { alpha: number; tolerance: number },
) {
  if (!isRatio(metric)) {
    const { histogram, share } = distribution(candidate, metric);
    return compareQuantiles(histogram, distribution(stable, metric).histogram, share, options);
  }
  const side = (answer: SliAnswer) => ({ bad: bad(answer, metric), of: answer.counts.requests });
  return compareProportions(side(candidate), side(stable), options);
}
