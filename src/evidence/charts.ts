import type { EvidenceRecord, Figures, Point } from "../model/evidence/record";
import { formatSplit, SPLIT_PARTS } from "../model/route/split";
import { formatMilliseconds } from "../model/types/duration";
import { type Chart, type Line, NARROW, renderChart, type TimeAxis, WIDE } from "./chart";
import { html, type Markup } from "./html";
import { formatClock, formatLatency, formatOffset, formatRatio } from "./words";

const SECOND_MS = 1000;
/** Highest share of errors that the axis shows even where there are none. */
const LEAST_RATIO = 0.01;
const LEAST_LATENCY_MS = 10;

/**
 * The charts of a transaction, with their figures as tables below; a sentence where there are none.
 *
 * @param prefix tells their ids from those of other transactions on the same page
 */
export function chartsOf(record: EvidenceRecord, prefix = ""): Markup {
  const measured = record.series
    .map(({ role, points }) => ({ role, points: known(points, record.begunAt) }))
    .filter(({ points }) => points.length > 0);
  const axis = axisOf(record, measured);
  const split = splitChart(record, measured, axis);
  const charts = [
    ...(split === undefined ? [] : [split]),
    ...(measured.length === 0 ? [] : measuredCharts(record, measured)),
  ];
  if (charts.length === 0) return html`<p class="soft">No charts: ${whyNone(record)}.</p>`;
  return html`${charts.map((chart) => figure({ ...chart, id: `${prefix}${chart.id}` }, axis))}${measured.length === 0 ? html`<p class="soft">No more charts: ${whyNone(record)}.</p>` : figures(measured, record)}`;
}

/** Without the time before the change from which there is no data: the edge may have been new. */
function known(points: readonly Point[], begunAt: number): Point[] {
  const first = points.findIndex(({ at, ms, covered }) => covered || at + ms > begunAt);
  return first < 0 ? [] : points.slice(first);
}

function whyNone({ unmeasured, verdict }: EvidenceRecord): string {
  return unmeasured ?? (verdict === "running" ? "nothing is measured yet" : "nothing was measured");
}

function axisOf(record: EvidenceRecord, measured: EvidenceRecord["series"]): TimeAxis {
  const { begunAt, marks } = record;
  const points = measured.flatMap((series) => series.points);
  const last = Math.max(record.endedAt ?? begunAt, ...marks.map(({ at }) => at), begunAt + SECOND_MS);
  const from = Math.min(begunAt, ...points.map(({ at }) => at));
  const to = Math.max(last, ...points.map(({ at, ms }) => at + ms));
  const stages = marks.filter(({ kind }) => kind === "stage");
  const undo = marks.find(({ kind }) => kind === "undo")?.at ?? record.endedAt ?? to;
  const bands = stages.map(({ at, text, stage }, index) => ({
    from: at,
    to: stages[index + 1]?.at ?? Math.max(at, undo),
    label: stage ?? text,
  }));
  const labels: Record<string, string> = { begin: "begin", breach: "breach", undo: "undo", end: record.verdict };
  return {
    ...{ from, to, begunAt, bands, clock: formatClock(begunAt) },
    marks: marks.flatMap(({ at, kind }) => (labels[kind] === undefined ? [] : [{ at, kind, label: labels[kind] }])),
    gaps: gapsOf(measured[0]?.points ?? []),
  };
}

function gapsOf(points: readonly Point[]): TimeAxis["gaps"] {
  return points.reduce<{ from: number; to: number }[]>((gaps, { at, ms, covered }) => {
    const last = gaps.at(-1);
    if (covered) return gaps;
    if (last?.to === at) last.to = at + ms;
    else gaps.push({ from: at, to: at + ms });
    return gaps;
  }, []);
}

function splitChart(
  { splits, endedAt, sides }: EvidenceRecord,
  measured: EvidenceRecord["series"],
  axis: TimeAxis,
): Chart | undefined {
  if (splits.every(({ parts }) => parts === splits[0]?.parts)) return undefined;
  const steps = splits.map(({ at, parts }) => ({ at, value: parts / SPLIT_PARTS }));
  const first = steps[0];
  const last = steps.at(-1);
  const held = [
    ...(first === undefined ? [] : [{ at: axis.from, value: first.value }]),
    ...steps,
    ...(last === undefined
      ? []
      : [{ at: endedAt === undefined ? axis.to : Math.max(axis.to, endedAt), value: last.value }]),
  ];
  const shares = sharesOf(measured);
  const label = sides.find(({ role }) => role === "candidate")?.label;
  return {
    ...{
      id: "split",
      title: "Candidate's share of the requests",
      unit: "share of requests",
      format: formatRatio,
      limits: [],
      most: 1,
    },
    description: `What was asked for, step by step: ${splits.map(({ at, parts }) => `${formatSplit(parts)} from ${formatOffset(at - axis.begunAt)}`).join(", ")}.`,
    lines: [
      { role: "candidate", label: `asked for${label === undefined ? "" : `: ${label}`}`, points: held, shape: "steps" },
      ...(shares.length === 0 ? [] : [{ role: "candidate", label: "counted", points: shares, shape: "dots" as const }]),
    ],
    least: Math.max(...steps.map(({ value }) => value)),
  };
}

/** Share of all requests that the candidate actually received. */
function sharesOf(measured: EvidenceRecord["series"]): Line["points"] {
  const of = (role: string) => measured.find((series) => series.role === role)?.points ?? [];
  const stable = new Map(of("stable").map((point) => [point.at, point]));
  return of("candidate").flatMap(({ at, ms, requests }) => {
    const all = requests + (stable.get(at)?.requests ?? 0);
    return all === 0 ? [] : [{ at: at + ms / 2, value: requests / all }];
  });
}

function measuredCharts(record: EvidenceRecord, measured: EvidenceRecord["series"]): Chart[] {
  const lines = (value: (point: Point) => number | undefined): Line[] =>
    measured.map(({ role, points }) => ({
      ...{ role, label: labelOf(record, role) },
      points: points.map((point) => ({ at: point.at + point.ms / 2, value: point.covered ? value(point) : undefined })),
    }));
  const limits = (metric: string, format: (value: number) => string) => {
    const found = record.gates.flatMap(({ bounds }) => bounds.filter((bound) => bound.metric === metric));
    const labels = found.map(({ limit, shadow = false }) => [
      `limit ${format(limit)}${shadow ? " for the shadow" : ""}`,
      limit,
    ]);
    return Object.entries(Object.fromEntries(labels) as Record<string, number>).map(([label, value]) => ({
      label,
      value,
    }));
  };
  const chart = (
    id: string,
    title: string,
    unit: string,
    rest: Pick<Chart, "format" | "lines" | "least"> & Partial<Chart>,
    say = rest.format,
  ): Chart => ({
    ...{ id, title, unit, limits: [] },
    description: describe(title, rest.lines, say),
    ...rest,
  });
  const latency = (metric: "p95" | "p99") => {
    const rest = {
      format: String,
      lines: lines((point) => point[metric] ?? undefined),
      limits: limits(metric, formatLatency),
      least: LEAST_LATENCY_MS,
    };
    const share = metric === "p95" ? "95" : "99";
    return chart(metric, `${metric}: ${share} % of the requests were faster`, "milliseconds", rest, formatLatency);
  };
  return [
    chart("errors", "Error ratio: answered with 5xx, or cut off", "share of requests", {
      format: formatRatio,
      lines: lines(({ errors, requests }) => (requests === 0 ? undefined : errors / requests)),
      limits: [...limits("errors", formatRatio), ...limits("5xx", formatRatio)].slice(0, 2),
      ...{ least: LEAST_RATIO, most: 1 },
    }),
    latency("p95"),
    latency("p99"),
    chart("rate", "Requests", "requests per second", {
      format: formatRate,
      lines: lines(rateOf).filter(({ role }) => role !== "shadow"),
      least: 1,
    }),
    ...measured.filter(({ role }) => role === "shadow").map((shadow) => copiesChart(record, shadow)),
  ];
}

/** Copies of requests: those that came to the shadow, and those that were dropped on the way. */
function copiesChart(record: EvidenceRecord, { points }: EvidenceRecord["series"][number]): Chart {
  const line = (value: (point: Point) => number | undefined): Line["points"] =>
    points.map((point) => ({ at: point.at + point.ms / 2, value: point.covered ? value(point) : undefined }));
  const sum = (value: (point: Point) => number) => points.reduce((total, point) => total + value(point), 0);
  const [came, dropped] = [sum(({ requests }) => requests), sum((point) => point.dropped ?? 0)];
  return {
    ...{ id: "copies", title: "Copies of requests for the shadow", unit: "copies per second", limits: [], least: 1 },
    description: `${came} copies came to the ${labelOf(record, "shadow")}; ${dropped} were dropped on their way.`,
    format: formatRate,
    lines: [
      { role: "shadow", label: `came to the ${labelOf(record, "shadow")}`, points: line(rateOf) },
      {
        ...{ role: "dropped", shape: "crosses" as const },
        label: dropped === 0 ? "none was dropped" : `${dropped} dropped`,
        points: line(({ dropped: lost = 0, ms }) => (lost === 0 ? undefined : lost / (ms / SECOND_MS))),
      },
    ],
  };
}

function rateOf({ requests, ms }: Point): number {
  return requests / (ms / SECOND_MS);
}

function formatRate(value: number): string {
  return String(Number(value.toPrecision(3)));
}

export function labelOf({ sides }: Pick<EvidenceRecord, "sides">, role: string): string {
  const label = sides.find((side) => side.role === role)?.label ?? "";
  return role === "all" ? label : `${role}: ${label}`;
}

function describe(title: string, lines: Line[], format: (value: number) => string): string {
  const descriptions = lines.map(({ label, points }) => {
    const values = points.flatMap(({ value }) => value ?? []);
    return values.length === 0
      ? `${label}: no requests`
      : `${label}: from ${format(Math.min(...values))} to ${format(Math.max(...values))}`;
  });
  return `${title}. ${descriptions.join("; ")}.`;
}

/** Samples of lines, for the key. */
const SAMPLES = {
  line: html`<path d="M1 5H25"/>`,
  dots: html`<circle cx="6" cy="5" r="2"/><circle cx="13" cy="5" r="2"/><circle cx="20" cy="5" r="2"/>`,
  crosses: html`<path d="M3 2l6 6m0 -6l-6 6M16 2l6 6m0 -6l-6 6"/>`,
};

function figure(chart: Chart, axis: TimeAxis): Markup {
  const sample = ({ shape }: Line) => SAMPLES[shape === undefined || shape === "steps" ? "line" : shape];
  return html`<figure><figcaption><h3>${chart.title}</h3>${chart.lines.map(
    (line) =>
      html`<span class="key"><svg viewBox="0 0 26 10" aria-hidden="true"><g class="line ${line.shape ?? ""} ${line.role}">${sample(line)}</g></svg>${line.label}</span>`,
  )}</figcaption>${renderChart(chart, axis, WIDE)}${renderChart(chart, axis, NARROW)}</figure>`;
}

/** All points as a table: what the charts show, for those who read figures. */
function figures(measured: EvidenceRecord["series"], record: EvidenceRecord): Markup {
  const rows = measured
    .flatMap(({ role, points }) => points.map((point) => ({ role, ...point })))
    .toSorted((a, b) => a.at - b.at);
  const ms = rows[0]?.ms ?? 0;
  return html`<details><summary>Figures of all charts, ${formatMilliseconds(ms)} each</summary><div class="scroll"><table><thead><tr><th scope="col">From</th><th scope="col">Side</th>${figureHeads(record)}</tr></thead><tbody>${rows.map(
    ({ at, role, covered, ...point }) =>
      html`<tr><td>${formatOffset(at - record.begunAt)}</td><td>${labelOf(record, role)}</td>${covered ? figureCells(point, record) : html`<td colspan="${hasShadow(record) ? 6 : 5}" class="soft">no data: the meter did not run</td>`}</tr>`,
  )}</tbody></table></div></details>`;
}

function hasShadow({ sides }: Pick<EvidenceRecord, "sides">): boolean {
  return sides.some(({ role }) => role === "shadow");
}

/** Titles of the columns that {@link figureCells} fills; one more where there is a shadow. */
export function figureHeads(record: Pick<EvidenceRecord, "sides">): Markup {
  return html`<th scope="col" class="number">Requests</th><th scope="col" class="number">Errors</th><th scope="col" class="number">p50</th><th scope="col" class="number">p95</th><th scope="col" class="number">p99</th>${hasShadow(record) && html`<th scope="col" class="number">Dropped</th>`}`;
}

export function figureCells(
  { requests, errors, p50, p95, p99, dropped }: Figures,
  record: Pick<EvidenceRecord, "sides">,
): Markup {
  const ratio = requests === 0 ? "\u2013" : formatRatio(errors / requests);
  return html`<td class="number">${requests}</td><td class="number">${ratio}</td><td class="number">${formatLatency(p50)}</td><td class="number">${formatLatency(p95)}</td><td class="number">${formatLatency(p99)}</td>${hasShadow(record) && html`<td class="number">${dropped ?? ""}</td>`}`;
}
