import { html, type Markup } from "./html";
import { formatOffset } from "./words";

/** A line of a chart; a value is missing where there was nothing to measure. */
export interface Line {
  /** Class of its style. */
  role: string;
  label: string;
  points: { at: number; value: number | undefined }[];
  /** `steps`: a value holds until the next one; `dots`, `crosses`: each stands for itself. @default a line from one to the next */
  shape?: "steps" | "dots" | "crosses" | undefined;
}

export interface Chart {
  id: string;
  title: string;
  /** Text that conveys the chart to those who do not see it. */
  description: string;
  unit: string;
  format: (value: number) => string;
  lines: Line[];
  limits: { value: number; label: string }[];
  /** Least value that the axis reaches. */
  least: number;
  /** Greatest that makes sense, such as 100 %. */
  most?: number;
}

/** How large a chart is, in its own units: characters are as large in all of them. */
export interface Frame {
  /** Tells it from others of the same chart. */
  name: string;
  width: number;
  height: number;
  plot: { left: number; right: number; top: number; bottom: number };
  /** Most labels of the time. */
  ticks: number;
}

/** For screens of tables and desks, and for paper. */
export const WIDE: Frame = {
  ...{ name: "wide", width: 900, height: 232, ticks: 9 },
  plot: { left: 74, right: 886, top: 40, bottom: 184 },
};
/** For phones. */
export const NARROW: Frame = {
  ...{ name: "narrow", width: 360, height: 236, ticks: 3 },
  plot: { left: 60, right: 350, top: 42, bottom: 190 },
};

/** The time that all charts of a page have in common. */
export interface TimeAxis {
  /** Time of day of its begin, for people. */
  clock: string;
  from: number;
  to: number;
  begunAt: number;
  bands: { from: number; to: number; label: string }[];
  marks: { at: number; kind: string; label: string }[];
  /** Times without data, as the meter did not run. */
  gaps: { from: number; to: number }[];
}

const CHARACTER = 6.4;
/** How many times higher than all values a limit may be to be drawn. */
const FAR_LIMIT = 4;
const NO_DATA = "no data";
const STEPS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400].map(
  (s) => s * 1000,
);
const Y_TICKS = 4;

/** A chart as SVG that stands for itself: with axes, units, stages, marks and words for readers that see none of it. */
export function renderChart(chart: Chart, axis: TimeAxis, frame: Frame): Markup {
  const { width, height, plot, name } = frame;
  const id = `${chart.id}-${name}`;
  const span = Math.max(1, axis.to - axis.from);
  const x = (at: number) => plot.left + ((clamp(at, axis.from, axis.to) - axis.from) / span) * (plot.right - plot.left);
  const values = chart.lines.flatMap(({ points }) => points.flatMap(({ value }) => value ?? []));
  const most = Math.max(chart.least, ...values);
  // A limit far above would press the lines together at the bottom.
  const near = chart.limits.filter(({ value }) => value <= most * FAR_LIMIT);
  const far = chart.limits.filter(({ value }) => value > most * FAR_LIMIT);
  const highest = Math.max(most, ...near.map(({ value }) => value * 1.1));
  const step = niceStep(highest / Y_TICKS);
  const top = Math.min(Math.ceil(highest / step - 1e-9) * step, chart.most ?? Number.POSITIVE_INFINITY);
  const y = (value: number) => plot.bottom - (clamp(value, 0, top) / top) * (plot.bottom - plot.top);
  const above = far.map(({ label }) => `${label}, above this chart`).join("; ");
  return html`<svg class="chart ${name}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-t ${id}-d">
<title id="${id}-t">${chart.title}</title><desc id="${id}-d">${chart.description}</desc>
${bands(axis, x, frame)}${gaps(axis, x, frame)}${yAxis(chart, { step, top }, y, frame)}${xAxis(axis, x, frame)}
${near.map(({ value, label }) => html`<g class="limit"><line x1="${plot.left}" x2="${plot.right}" y1="${r(y(value))}" y2="${r(y(value))}"/><text x="${plot.left + 6}" y="${r(y(value) - 4)}">${label}</text></g>`)}${above !== "" && html`<g class="limit"><text x="${plot.left + 6}" y="${plot.top + 14}">${above}</text></g>`}
${chart.lines.map((line) => renderLine(line, x, y))}${marks(axis, x, frame)}
</svg>`;
}

function bands({ bands: all }: TimeAxis, x: (at: number) => number, { plot }: Frame): Markup[] {
  return all.map(({ from, to, label }, index) => {
    const [left, width] = [x(from), x(to) - x(from)];
    const fits = label.length * CHARACTER < width - 6;
    return html`<g class="band${index % 2 === 0 ? " even" : ""}"><title>${label}</title><rect x="${r(left)}" y="${plot.top}" width="${r(Math.max(0, width))}" height="${plot.bottom - plot.top}"/>${fits && html`<text x="${r(left + width / 2)}" y="${plot.top - 26}" text-anchor="middle">${label}</text>`}</g>`;
  });
}

function gaps({ gaps: all }: TimeAxis, x: (at: number) => number, { plot }: Frame): Markup[] {
  return all.map(({ from, to }) => {
    const [left, width] = [x(from), Math.max(1, x(to) - x(from))];
    const fits = NO_DATA.length * CHARACTER < width - 6;
    return html`<g class="gap"><title>no data: the meter did not run</title><rect x="${r(left)}" y="${plot.top}" width="${r(width)}" height="${plot.bottom - plot.top}"/>${fits && html`<text x="${r(left + width / 2)}" y="${(plot.top + plot.bottom) / 2}" text-anchor="middle">${NO_DATA}</text>`}</g>`;
  });
}

function yAxis(
  { unit, format }: Chart,
  { step, top }: { step: number; top: number },
  y: (value: number) => number,
  { plot }: Frame,
): Markup {
  const ticks = Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, index) => index * step);
  return html`<g class="axis">${ticks.map(
    (value) =>
      html`<line class="grid" x1="${plot.left}" x2="${plot.right}" y1="${r(y(value))}" y2="${r(y(value))}"/><text x="${plot.left - 8}" y="${r(y(value) + 4)}" text-anchor="end">${format(value)}</text>`,
  )}<text class="unit" transform="translate(13 ${(plot.top + plot.bottom) / 2}) rotate(-90)" text-anchor="middle">${unit}</text></g>`;
}

function xAxis(
  { from, to, begunAt, clock }: TimeAxis,
  x: (at: number) => number,
  { plot, ticks: most }: Frame,
): Markup {
  const step =
    STEPS_MS.find((each) => (to - from) / each <= most) ?? Math.ceil((to - from) / most / 86_400_000) * 86_400_000;
  const first = begunAt + Math.ceil((from - begunAt) / step) * step;
  const ticks = Array.from({ length: Math.floor((to - first) / step) + 1 }, (_, index) => first + index * step);
  return html`<g class="axis"><line class="base" x1="${plot.left}" x2="${plot.right}" y1="${plot.bottom}" y2="${plot.bottom}"/>${ticks.map(
    (at) =>
      html`<line class="tick" x1="${r(x(at))}" x2="${r(x(at))}" y1="${plot.bottom}" y2="${plot.bottom + 5}"/><text x="${r(x(at))}" y="${plot.bottom + 18}" text-anchor="middle">${at === begunAt ? "begin" : formatOffset(at - begunAt)}</text>`,
  )}<text class="unit" x="${(plot.left + plot.right) / 2}" y="${plot.bottom + 38}" text-anchor="middle">time since the change began (${clock})</text></g>`;
}

/** The most important marks keep their labels where they would cover each other. */
const IMPORTANCE = ["breach", "end", "undo", "begin"];

function marks({ marks: all }: TimeAxis, x: (at: number) => number, { plot }: Frame): Markup[] {
  const labelled: { left: number; right: number }[] = [];
  return all
    .toSorted((a, b) => IMPORTANCE.indexOf(a.kind) - IMPORTANCE.indexOf(b.kind))
    .map(({ at, kind, label }) => {
      const half = (label.length * CHARACTER) / 2;
      const middle = clamp(x(at), plot.left + half, plot.right - half);
      const box = { left: middle - half - 3, right: middle + half + 3 };
      const free = labelled.every(({ left, right }) => box.right < left || box.left > right);
      if (free) labelled.push(box);
      const text = free && html`<text x="${r(middle)}" y="${plot.top - 8}" text-anchor="middle">${label}</text>`;
      const sign = kind === "breach" && html`<path d="M${r(x(at) - 5)} ${plot.top - 4}h10l-5 8z"/>`;
      return html`<g class="mark ${kind}"><title>${label}</title><line x1="${r(x(at))}" x2="${r(x(at))}" y1="${plot.top - 4}" y2="${plot.bottom}"/>${sign}${text}</g>`;
    });
}

function renderLine(
  { role, label, points, shape }: Line,
  x: (at: number) => number,
  y: (value: number) => number,
): Markup {
  const dot = (at: number, value: number) => html`<circle cx="${r(x(at))}" cy="${r(y(value))}" r="2.3"/>`;
  const cross = (at: number, value: number) => `M${r(x(at) - 3)} ${r(y(value) - 3)}l6 6m0 -6l-6 6`;
  const known = points.flatMap(({ at, value }) => (value === undefined ? [] : [{ at, value }]));
  if (shape === "crosses")
    return html`<g class="line crosses ${role}"><title>${label}</title>${known.length > 0 && html`<path d="${known.map(({ at, value }) => cross(at, value)).join("")}"/>`}</g>`;
  if (shape === "dots")
    return html`<g class="line dots ${role}"><title>${label}</title>${known.map(({ at, value }) => dot(at, value))}</g>`;
  const runs = points.reduce<{ at: number; value: number }[][]>(
    (all, { at, value }) => {
      if (value === undefined) all.push([]);
      else all.at(-1)?.push({ at, value });
      return all;
    },
    [[]],
  );
  const path = runs
    .filter((run) => run.length > 1)
    .map((run) =>
      run
        .map(({ at, value }, index) => {
          if (index === 0) return `M${r(x(at))} ${r(y(value))}`;
          return shape === "steps" ? `H${r(x(at))}V${r(y(value))}` : `L${r(x(at))} ${r(y(value))}`;
        })
        .join(""),
    )
    .join("");
  const alone = runs.flatMap((run) => (run.length === 1 ? run : []));
  return html`<g class="line ${role}"><title>${label}</title>${path !== "" && html`<path d="${path}"/>`}${alone.map(({ at, value }) => dot(at, value))}</g>`;
}

/** The next of 1, 2, 2.5, 5 times a power of ten. */
function niceStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= value * 0.999_999) ?? 10) * power;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

/** A coordinate to a tenth, so that pages stay small. */
function r(value: number): number {
  return Math.round(value * 10) / 10;
}
