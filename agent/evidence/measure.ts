import { setImmediate as turn } from "node:timers/promises";
import type { EvidenceRecord, Figures, Mark, Point, Side, Stretch } from "../../model/evidence/record";
import { bad, measure, mergeAnswers, type SliAnswer, type SliQuery } from "../../model/sli";

/** Most points of one line of a chart. */
export const MAX_POINTS = 240;
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
/** The agent answers others after this many queries. */
const QUERIES_PER_TURN = 10;

export type Ask = (query: SliQuery) => SliAnswer;

/** What the meter has counted of each side over a transaction's time: points for charts, and sums by stage. */
export async function measureSides(
  record: EvidenceRecord,
  ask: Ask,
  clock: number,
): Promise<Pick<EvidenceRecord, "series" | "stretches">> {
  const sides = record.sides.filter(({ edges }) => edges.length > 0);
  if (sides.length === 0) return { series: [], stretches: [] };
  const now = Math.min(clock, (record.endedAt ?? clock) + TAIL_MS);
  const { from, ms } = windowOf(record, now, clock);
  let queries = 0;
  const figures = async (side: Side, window: { from: number; to: number }) => {
    queries += 1;
    if (queries % QUERIES_PER_TURN === 0) await turn();
    return answerOf(side, window, ask);
  };
  const series: EvidenceRecord["series"] = [];
  for (const side of sides) {
    const points: Point[] = [];
    for (let at = from; at < now; at += ms) {
      const answer = await figures(side, { from: at, to: at + ms });
      // The last one may not be over, and a part of one would look like a loss of requests.
      if (answer.to < at + ms) break;
      points.push({ at, ms, covered: answer.coveredMs > 0, ...figuresOf(answer) });
    }
    series.push({ role: side.role, points });
  }
  const stretches: Stretch[] = [];
  for (const stretch of stretchesOf(record, from, now)) {
    const found: Stretch["figures"] = [];
    for (const side of sides) found.push({ role: side.role, ...figuresOf(await figures(side, stretch)) });
    stretches.push({ ...stretch, figures: found });
  }
  return { series, stretches };
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
function stretchesOf(
  { marks, begunAt, endedAt = Number.POSITIVE_INFINITY }: EvidenceRecord,
  from: number,
  now: number,
) {
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

function answerOf({ edges, route, backend, release }: Side, window: { from: number; to: number }, ask: Ask): SliAnswer {
  const selector = {
    ...(route === undefined ? {} : { route }),
    ...(backend === undefined ? {} : { backend }),
    ...(release === undefined ? {} : { release }),
  };
  const [first, ...rest] = edges.map((edge) =>
    ask({ edge, ...selector, from: Math.floor(window.from), to: Math.ceil(window.to) }),
  );
  if (first === undefined) throw new Error("a side without a metered edge has nothing to ask");
  return mergeAnswers([first, ...rest]);
}

function figuresOf(answer: SliAnswer): Figures {
  const quantile = (metric: "p50" | "p95" | "p99") => measure(answer, metric) ?? null;
  return {
    requests: answer.counts.requests,
    errors: bad(answer, "errors"),
    p50: quantile("p50"),
    p95: quantile("p95"),
    p99: quantile("p99"),
  };
}
