import { setImmediate as turn } from "node:timers/promises";
import type { EvidenceRecord, Figures, Mark, MeasuredSide, Point, Stretch } from "../../model/evidence/record";
import { bad, measure, mergeAnswers, type SliAnswer, type SliQuery } from "../../model/gate/sli";

/** Most points of one line of a chart. */
const MAX_POINTS = 240;
const LENGTHS_MS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600].map((seconds) => seconds * 1000);
/** The meter keeps whole seconds for ten minutes, and ten seconds at a time for a day. */
const FINE_KEPT_MS = 9 * 60_000;
const COARSE_MS = 10_000;
const KEPT_MS = 25 * 3_600_000;
/** Time before a change that charts show, as a share of the change's length within bounds, in milliseconds. */
const LEAD = { share: 0.15, least: 15_000, most: 10 * 60_000 };
/** Time after a change that charts show, in milliseconds. */
const TAIL_MS = 10_000;
/** Shorter stretches of time are not summed up: the meter counts by whole seconds. */
const SHORTEST_MS = 2000;
/** Most stages of which figures are summed up. */
const MAX_STRETCHES = 60;
/** Longest time that is summed up at once, in milliseconds: whole slots of the meter. */
const PART_MS = 20 * 60_000;

/** The meter, as a source of counts. */
export interface Counted {
  query(query: SliQuery): SliAnswer;
  history(query: SliQuery, ms: number): (() => SliAnswer)[];
}

/**
 * Counts of the meter for each side over a transaction's time: points for charts, and sums by stage. The agent does
 * what else it has to do meanwhile.
 */
export async function measureSides(
  record: EvidenceRecord,
  meter: Counted,
  clock: number,
): Promise<Pick<EvidenceRecord, "series" | "stretches">> {
  const sides = record.sides.filter(({ edges }) => edges.length > 0);
  const now = Math.min(clock, (record.endedAt ?? clock) + TAIL_MS);
  const { from, ms } = windowOf(record, now, clock);
  const series: EvidenceRecord["series"] = [];
  for (const side of sides) {
    const windows = queriesOf(side, from, now).map((query) => meter.history(query, ms));
    const points: Point[] = [];
    for (let index = 0; windows.every((edge) => index < edge.length); index++) {
      await turn();
      const answer = mergeAnswers(windows.map((edge) => (edge[index] as () => SliAnswer)()) as [SliAnswer]);
      points.push({ at: from + index * ms, ms, covered: answer.coveredMs > 0, ...figuresOf(side, answer) });
    }
    series.push({ role: side.role, points });
  }
  return { series, stretches: await stretchesOf(record, sides, meter, { from, now }) };
}

async function stretchesOf(
  record: EvidenceRecord,
  sides: readonly MeasuredSide[],
  meter: Counted,
  { from, now }: { from: number; now: number },
): Promise<Stretch[]> {
  const stretches: Stretch[] = [];
  for (const stretch of timesOf(record, from, now)) {
    const figures: Stretch["figures"] = [];
    for (const side of sides) {
      const answers: SliAnswer[] = [];
      // A long time is summed up in parts, or it would keep the agent from all else.
      for (let at = stretch.from, next = 0; at < stretch.to; at = next) {
        next = Math.min(Math.floor(at / PART_MS + 1) * PART_MS, stretch.to);
        await turn();
        answers.push(...queriesOf(side, at, next).map((query) => meter.query(query)));
      }
      figures.push({ role: side.role, ...figuresOf(side, mergeAnswers(answers as [SliAnswer])) });
    }
    stretches.push({ ...stretch, figures });
  }
  return stretches;
}

function windowOf({ begunAt, endedAt }: EvidenceRecord, now: number, clock: number): { from: number; ms: number } {
  const length = (endedAt ?? now) - begunAt;
  const lead = Math.min(Math.max(length * LEAD.share, LEAD.least), LEAD.most);
  const from = Math.max(begunAt - lead, clock - KEPT_MS);
  const least = clock - from > FINE_KEPT_MS ? COARSE_MS : 0;
  const ms = LENGTHS_MS.find((each) => each >= least && (now - from) / each <= MAX_POINTS) ?? 3_600_000;
  return { from: Math.floor(from / ms) * ms, ms };
}

/** The time before, each stage (or the whole change, where it has none), and the time after. */
function timesOf({ marks, begunAt, endedAt = Number.POSITIVE_INFINITY }: EvidenceRecord, from: number, now: number) {
  const end = Math.min(endedAt, now);
  const stages = marks.filter(({ kind }) => kind === "stage").slice(0, MAX_STRETCHES);
  const undo = marks.find(({ kind }) => kind === "undo")?.at ?? end;
  const starts: Pick<Mark, "at" | "text">[] = stages.length > 0 ? stages : [{ at: begunAt, text: "the change" }];
  const cuts = [
    { title: "before", at: from },
    ...starts.map(({ at, text }) => ({ title: text.replace(/,.*/, ""), at })),
    ...(undo < end ? [{ title: "undo", at: undo }] : []),
    { title: "after", at: end },
    { title: "", at: now },
  ];
  return cuts.flatMap(({ title, at }, index) => {
    const to = cuts[index + 1]?.at;
    return to === undefined || to - at < SHORTEST_MS ? [] : [{ title, from: at, to }];
  });
}

/** A query for each edge that a side is on. */
function queriesOf({ edges, route, backend, server, release }: MeasuredSide, from: number, to: number): SliQuery[] {
  return edges.map((edge) => ({ edge, route, backend, server, release, from: Math.floor(from), to: Math.ceil(to) }));
}

function figuresOf({ role }: MeasuredSide, answer: SliAnswer): Figures {
  const quantile = (metric: "p50" | "p95" | "p99") => measure(answer, metric) ?? null;
  return {
    requests: answer.counts.requests,
    errors: bad(answer, "errors"),
    p50: quantile("p50"),
    p95: quantile("p95"),
    p99: quantile("p99"),
    // The meter counts copies that were lost on their way like requests that nobody waited for.
    ...(role === "shadow" ? { dropped: answer.counts.aborted } : {}),
  };
}
