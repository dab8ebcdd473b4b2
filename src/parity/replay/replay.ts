import type { Line } from "../compare/lines";
import type { ParityResult } from "../compare/result";
import type { Selection } from "../compare/select";
import { type Summary, Tally } from "../compare/tally";
import type { ParitySide } from "../compare/target";
import { HttpExchange } from "./exchange";
import type { ReportWriter } from "./report";
import { compareLines, type RunOptions } from "./run";

/** Inputs of a replay: the comparison and its limits. Headers are never part of a report. */
export interface ReplayOptions extends Omit<RunOptions, "exchange" | "signal" | "clock"> {
  bases: Record<ParitySide, URL>;
  /** Largest answer that is read, in bytes. */
  maxBody: number;
  /** Mismatches and errors that end the run. @default none */
  stopAfter?: number | undefined;
}

export interface Replay {
  summary: Summary;
  /** The first ones that were not equal. */
  problems: ParityResult[];
  startedAt: Date;
  endedAt: Date;
}

export interface ReplayHooks {
  /** Receives results that are not equal. @default nowhere */
  report?: ReportWriter | undefined;
  /** Given the counts before the first request; it may keep and read them as the run goes on. */
  begin?: (tally: Tally) => void;
  /** Ends the run, which then says why in its summary; its reason is a text. */
  signal?: AbortSignal | undefined;
}

/** Mismatches that a replay keeps to show. */
const SHOWN = 5;

/** Replays requests against both sides over HTTP, and counts what came of them. */
export async function replay(
  lines: AsyncIterable<Line>,
  selection: Selection,
  options: ReplayOptions,
  { report, begin, signal }: ReplayHooks = {},
): Promise<Replay> {
  const startedAt = new Date();
  const http = new HttpExchange(options.bases, { connections: options.concurrency, maxBody: options.maxBody });
  const tally = new Tally();
  const problems: ParityResult[] = [];
  let unfinished: string | undefined;
  begin?.(tally);
  try {
    const run: RunOptions = { ...options, exchange: http.exchange, ...(signal === undefined ? {} : { signal }) };
    for await (const result of compareLines(selection.of(lines), run)) {
      tally.add(result);
      if (result.outcome === "equal") continue;
      if (problems.length < SHOWN) problems.push(result);
      await report?.add(result);
      if (tally.problems === options.stopAfter) {
        unfinished = `stopped after ${options.stopAfter} mismatches and errors`;
        break;
      }
    }
    if (signal?.aborted) unfinished = String(signal.reason);
    return { summary: tally.summary(unfinished), problems, startedAt, endedAt: new Date() };
  } finally {
    await http.close();
  }
}

/** Head of a report, before its mismatches. */
export function reportHead(
  { summary, startedAt, endedAt }: Replay,
  { lines, blank, notSampled, limited }: Selection,
  options: Record<string, unknown>,
): Record<string, unknown> {
  return {
    tool: "sluice parity",
    version: 1,
    ...summary,
    lines: { read: lines, blank, notSampled, limited },
    startedAt: startedAt.toISOString(),
    endedAt: endedAt.toISOString(),
    options,
  };
}
