import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../../src/agent/support/files";
import { REPOSITORY } from "../../test/engine/support/engine";
import type { Machine } from "./machine";
import { median, rounded } from "./statistics";

/** A figure and what it is to reach. */
export interface Target {
  what: string;
  measured: number;
  /** Unit of both figures, such as `ms`; empty for a ratio. */
  unit: string;
  atLeast?: number;
  atMost?: number;
  /** The same figure of each round, of which `measured` is the median: what a reader may take for noise. */
  rounds?: readonly number[];
}

/** A target on what a figure of ours is of another one, by rounds in which both were measured one right after the other. */
export function ratioTarget(
  what: string,
  own: readonly number[],
  other: readonly number[],
  limit: { atLeast: number } | { atMost: number },
): Target {
  const rounds = own.map((figure, round) => rounded(figure / (other[round] ?? Number.NaN)));
  return { what, measured: rounded(median(rounds)), unit: "", ...limit, rounds };
}

/** Result of a benchmark. */
export interface Findings {
  /** How it was measured: rounds, seconds, connections. */
  parameters: Record<string, unknown>;
  /** Every sample of each side, in the order in which they were taken. */
  samples: Record<string, unknown[]>;
  /** Medians and the like of each side. */
  summary: Record<string, Record<string, number>>;
  targets: Target[];
  /** Violations, in words: the benchmark then fails. */
  failures: string[];
  /** Facts that a reader needs to judge the figures. */
  notes: string[];
}

export interface Report extends Findings {
  name: string;
  /** A smoke test: its figures mean nothing. */
  quick: boolean;
  seconds: number;
  machine: Machine;
}

export function isMet({ measured, atLeast, atMost }: Target): boolean {
  return measured >= (atLeast ?? Number.NEGATIVE_INFINITY) && measured <= (atMost ?? Number.POSITIVE_INFINITY);
}

/** Writes `.sluice/bench/<name>.json`, and returns its path. */
export async function writeReport(report: Report): Promise<string> {
  const folder = join(REPOSITORY, ".sluice", "bench");
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${report.name}.json`);
  const targets = report.targets.map((target) => ({ ...target, met: isMet(target) }));
  await writeFileAtomic(path, `${JSON.stringify({ ...report, targets }, undefined, 2)}\n`, 0o644);
  return path;
}

/** The report as tables for people. */
export function render({ name, quick, seconds, summary, targets, failures, notes }: Report): string {
  const columns = [...new Set(Object.values(summary).flatMap(Object.keys))];
  const sides = Object.entries(summary).map(([side, figures]) => [side, ...columns.map((key) => shown(figures[key]))]);
  const goals = targets.map((target) => [
    target.what,
    `${shown(target.measured)} ${target.unit}`.trim(),
    target.atLeast === undefined ? `<= ${shown(target.atMost)}` : `>= ${shown(target.atLeast)}`,
    isMet(target) ? "reached" : "NOT REACHED",
    spread(target),
  ]);
  return [
    `${name}${quick ? " (quick: the figures mean nothing)" : ""}, ${Math.round(seconds)} s`,
    "",
    table(["", ...columns], sides),
    "",
    table(["target", "measured", "to reach", "", "lowest to highest round"], goals),
    ...notes.map((note) => `note: ${note}`),
    ...failures.map((failure) => `FAILED: ${failure}`),
  ].join("\n");
}

function spread({ rounds = [] }: Target): string {
  return rounds.length < 2 ? "" : `${shown(Math.min(...rounds))} to ${shown(Math.max(...rounds))}`;
}

function shown(value: number | undefined): string {
  if (value === undefined) return "";
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) >= 100 ? 0 : 2);
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? "").length)));
  const line = (row: string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("   ")
      .trimEnd();
  return [head, ...rows].map((row) => `  ${line(row)}`).join("\n");
}
