import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import type { ErrorKind } from "./answer";
import type { Rows } from "./check";
import type { ParityResult } from "./result";
import type { ParitySide } from "./target";

/** Times in milliseconds; undefined members of an empty set are left out. */
export interface Timing {
  count: number;
  p50?: number;
  p90?: number;
  p95?: number;
  p99?: number;
  max?: number;
}

export interface Summary {
  /** Clean: something was compared, and nothing differed or failed. */
  clean: boolean;
  /** In one sentence. */
  verdict: string;
  requests: {
    total: number;
    /** Both sides' data was there and compared. */
    compared: number;
    equal: number;
    "missing-in-candidate": number;
    "extra-in-candidate": number;
    different: number;
    error: number;
  };
  rows: Rows;
  /** Requests by why they could not be compared; where both sides failed, by each of them. */
  errors: Partial<Record<ErrorKind, number>>;
  timing: Record<ParitySide, Timing>;
}

const MICROSECONDS = 1000;
/** An hour, far above any deadline. */
const LONGEST_MS = 3_600_000;

/** Counts results: memory does not grow with them. */
export class Tally {
  private readonly requests: Summary["requests"] = {
    total: 0,
    compared: 0,
    equal: 0,
    "missing-in-candidate": 0,
    "extra-in-candidate": 0,
    different: 0,
    error: 0,
  };
  private readonly rows: Rows = { upstream: 0, candidate: 0, equal: 0, missing: 0, extra: 0 };
  private readonly errors: Summary["errors"] = {};
  private readonly times: Record<ParitySide, RecordableHistogram> = { upstream: histogram(), candidate: histogram() };

  add(result: ParityResult): void {
    this.requests.total++;
    this.requests[result.outcome]++;
    for (const side of ["upstream", "candidate"] as const) {
      const ms = result.ms[side];
      if (ms !== undefined)
        this.times[side].record(Math.min(Math.max(1, Math.round(ms * MICROSECONDS)), LONGEST_MS * MICROSECONDS));
    }
    if (result.outcome === "error") {
      for (const kind of new Set(result.errors.map((each) => each.kind)))
        this.errors[kind] = (this.errors[kind] ?? 0) + 1;
      return;
    }
    this.requests.compared++;
    for (const key of Object.keys(this.rows) as (keyof Rows)[]) this.rows[key] += result.rows[key];
  }

  get problems(): number {
    return this.requests.total - this.requests.equal;
  }

  get total(): number {
    return this.requests.total;
  }

  /** @param unfinished why the run ended before its last line */
  summary(unfinished?: string): Summary {
    const verdict = this.verdict(unfinished);
    return {
      clean: verdict === undefined,
      verdict:
        verdict ?? `clean: ${this.requests.equal} requests with ${this.rows.equal} rows are the same on both sides`,
      requests: { ...this.requests },
      rows: { ...this.rows },
      errors: { ...this.errors },
      timing: { upstream: timing(this.times.upstream), candidate: timing(this.times.candidate) },
    };
  }

  /** Why it is not clean. No rows anywhere are no evidence that rows are right. */
  private verdict(unfinished: string | undefined): string | undefined {
    const { compared, error, total } = this.requests;
    const mismatches = compared - this.requests.equal;
    if (unfinished !== undefined) return `not finished: ${unfinished}`;
    if (total === 0) return "nothing compared: there was no request";
    if (compared === 0) return `nothing compared: all ${total} requests failed`;
    if (mismatches > 0 || error > 0) return `not clean: of ${total} requests, ${mismatches} differ and ${error} failed`;
    if (this.rows.upstream === 0)
      return `nothing compared: all ${total} requests came back without rows from both sides`;
    return undefined;
  }
}

function histogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: LONGEST_MS * MICROSECONDS, figures: 3 });
}

function timing(times: RecordableHistogram): Timing {
  if (times.count === 0) return { count: 0 };
  const at = (percentile: number) => Math.round(times.percentile(percentile)) / MICROSECONDS;
  return { count: times.count, p50: at(50), p90: at(90), p95: at(95), p99: at(99), max: at(100) };
}
