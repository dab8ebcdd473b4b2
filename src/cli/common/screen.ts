import { safeLine, safeText } from "../../model/types/safe-text";
import type { Terminal } from "./exit";

/** Width up to which screens are laid out where the terminal does not tell its own, in columns. */
const ASSUMED_WIDTH = 80;

/** Meaning of a text; the terminal decides how it looks. */
export type Tone = "good" | "bad" | "warn" | "dim" | "strong" | "plain";

const CODES: Record<Tone, string> = { good: "32", bad: "31;1", warn: "33", dim: "2", strong: "1", plain: "" };

/** How a stream shows things. */
export interface TextStyle {
  colour: boolean;
  /** Columns; infinite where the output is no terminal, so that nothing is lost to who reads on. */
  width: number;
}

/** Colour for terminals, unless NO_COLOR (of any value but the empty one) or a dumb terminal says no. */
export function textStyleOf({ stdout, env }: Pick<Terminal, "stdout" | "env">): TextStyle {
  const terminal = stdout.isTTY === true;
  const colour = terminal && !env.NO_COLOR && env.TERM !== "dumb";
  return { colour, width: terminal ? (stdout.columns ?? ASSUMED_WIDTH) : Number.POSITIVE_INFINITY };
}

/** A text of one or more lines, safe for a terminal, in the looks of its tone. */
export function toned(given: string, tone: Tone, { colour }: Pick<TextStyle, "colour">): string {
  const text = safeText(given);
  return !colour || tone === "plain" || text === "" ? text : `\u001b[${CODES[tone]}m${text}\u001b[0m`;
}

/** A cell of a table: its text, and what it means. */
export type Cell = string | { text: string; tone: Tone };

export interface Column {
  title: string;
  /** @default "left" */
  align?: "left" | "right";
  /** Columns of the screen that it keeps at least when space is scarce. @default its full width */
  least?: number;
  /** Left out first where space is scarce, the highest first. @default never */
  expendable?: number;
}

const GAP = "  ";
const CUT = "…";

/** A table as lines: aligned, no wider than the screen; columns that hold nothing are left out. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  style: TextStyle,
  indent = "",
): string[] {
  const used = columns
    .map((column, index) => ({ column, index }))
    .filter(({ index }) => rows.some((row) => textOf(row[index]) !== ""));
  const shown = fitting(used, rows, style.width - indent.length);
  const line = (cells: { cell: Cell; width: number; column: Column }[]) =>
    (
      indent +
      cells.map(({ cell, width, column }, at) => padded(cell, width, column, style, at === cells.length - 1)).join(GAP)
    ).trimEnd();
  const heads = shown.map(({ column, width }) => ({
    cell: { text: column.title, tone: "dim" as Tone },
    width,
    column,
  }));
  return [
    line(heads),
    ...rows.map((row) => line(shown.map(({ column, index, width }) => ({ cell: row[index] ?? "", width, column })))),
  ];
}

interface PositionedColumn {
  column: Column;
  index: number;
}

/** Widths of the columns that fit: expendable ones go first, then those that can do with less are cut. */
function fitting(
  used: readonly PositionedColumn[],
  rows: readonly (readonly Cell[])[],
  width: number,
): (PositionedColumn & { width: number })[] {
  let left = used.map((placed) => ({
    ...placed,
    width: Math.max(lengthOf(placed.column.title), ...rows.map((row) => lengthOf(textOf(row[placed.index])))),
  }));
  const total = (columns: { width: number }[]) =>
    columns.reduce((sum, column) => sum + column.width, 0) + GAP.length * (columns.length - 1);
  const least = () => total(left.map(({ column, width: full }) => ({ width: Math.min(full, column.least ?? full) })));
  while (least() > width) {
    const victim = left
      .filter(({ column }) => column.expendable !== undefined)
      .toSorted((a, b) => (b.column.expendable ?? 0) - (a.column.expendable ?? 0))[0];
    if (victim === undefined) break;
    left = left.filter((column) => column !== victim);
  }
  for (let over = total(left) - width; over > 0; ) {
    const widest = left
      .filter(({ column, width: now }) => now > (column.least ?? now))
      .toSorted((a, b) => b.width - a.width)[0];
    if (widest === undefined) break;
    const cut = Math.min(over, widest.width - (widest.column.least ?? widest.width));
    widest.width -= cut;
    over -= cut;
  }
  return left;
}

function padded(cell: Cell, width: number, { align = "left" }: Column, style: TextStyle, last: boolean): string {
  const text = clip(textOf(cell), width);
  const space = " ".repeat(width - lengthOf(text));
  const inked = toned(text, toneOf(cell), style);
  if (align === "right") return space + inked;
  return last ? inked : inked + space;
}

/** A text cut to a width, marked where it was. */
export function clip(given: string, width: number): string {
  const text = safeLine(given);
  if (lengthOf(text) <= width) return text;
  return width < 1 ? "" : [...text].slice(0, width - 1).join("") + CUT;
}

/** A text in lines of a width at most, broken at spaces where there are any. */
export function wrapped(text: string, width: number, indent = ""): string[] {
  const lines: string[] = [];
  for (const word of safeText(text).split(/\s+/).filter(Boolean)) {
    const last = lines.at(-1);
    if (last !== undefined && lengthOf(last) + 1 + lengthOf(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(lines.length === 0 ? word : indent + word);
  }
  return lines.map((line) => clip(line, width));
}

function textOf(cell: Cell | undefined): string {
  return safeLine(typeof cell === "object" ? cell.text : (cell ?? ""));
}

function toneOf(cell: Cell): Tone {
  return typeof cell === "object" ? cell.tone : "plain";
}

/** Characters, each of which takes one column: names are ASCII, and messages nearly so. */
function lengthOf(text: string): number {
  return [...text].length;
}
