import { BUCKETS, highestOf } from "../../model/gate/histogram";
import type { Cell } from "./cell";
import type { Series } from "./series";

/** Upper bounds of the exported histogram, in milliseconds. */
const BOUNDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000] as const;

/** Counts of one series since the agent's start. */
export interface Totals {
  counts: Record<string, number>;
  /** Requests up to each bound, not cumulated; the last is of those beyond all. */
  buckets: number[];
  /** Sum of the latencies, in milliseconds. */
  sum: number;
}

export function noTotals(): Totals {
  return { counts: {}, buckets: new Array(BOUNDS.length + 1).fill(0), sum: 0 };
}

const BOUND_OF_BUCKET = Array.from({ length: BUCKETS }, (_, bucket) => {
  const index = BOUNDS.findIndex((bound) => highestOf(bucket) <= bound);
  return index < 0 ? BOUNDS.length : index;
});

export function addTotals(totals: Totals, cell: Cell): void {
  for (const [key, count] of Object.entries(cell.toCounts())) totals.counts[key] = (totals.counts[key] ?? 0) + count;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const count = cell.head[bucket] as number;
    if (count === 0) continue;
    const index = BOUND_OF_BUCKET[bucket] as number;
    totals.buckets[index] = (totals.buckets[index] ?? 0) + count;
    totals.sum += count * highestOf(bucket);
  }
}

interface Family {
  name: string;
  help: string;
  value: (counts: Record<string, number>) => number;
}

const COUNTERS: Family[] = [
  {
    name: "sluice_requests_total",
    help: "Requests that were not given up by their client.",
    value: (c) => c.requests ?? 0,
  },
  { name: "sluice_aborted_requests_total", help: "Requests that their client gave up.", value: (c) => c.aborted ?? 0 },
  {
    name: "sluice_client_error_responses_total",
    help: "Answers with a status from 400 to 499.",
    value: (c) => c.status4xx ?? 0,
  },
  {
    name: "sluice_server_error_responses_total",
    help: "Answers with a status from 500.",
    value: (c) => c.status5xx ?? 0,
  },
  {
    name: "sluice_connection_errors_total",
    help: "Requests for which no server could be connected to.",
    value: (c) => c.connect ?? 0,
  },
  {
    name: "sluice_cut_responses_total",
    help: "Answers below 500 that their server cut off.",
    value: (c) => c.cut ?? 0,
  },
  { name: "sluice_sent_bytes_total", help: "Bytes sent to clients.", value: (c) => c.bytes ?? 0 },
];

/** Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/), version 0.0.4. */
export function exposition(rows: readonly (readonly [Series, Totals])[]): string {
  const lines: string[] = [];
  for (const { name, help, value } of COUNTERS) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
    for (const [series, { counts }] of rows) lines.push(`${name}{${labels(series)}} ${value(counts)}`);
  }
  const name = "sluice_request_duration_seconds";
  lines.push(`# HELP ${name} Time to the head of the answer.`, `# TYPE ${name} histogram`);
  for (const [series, { buckets, sum }] of rows) {
    let seen = 0;
    for (const [index, count] of buckets.entries()) {
      seen += count;
      const bound = BOUNDS[index];
      lines.push(`${name}_bucket{${labels(series)},le="${bound === undefined ? "+Inf" : bound / 1000}"} ${seen}`);
    }
    lines.push(`${name}_sum{${labels(series)}} ${sum / 1000}`, `${name}_count{${labels(series)}} ${seen}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Names need no escapes: they hold no quotes and no backslashes. */
function labels({ edge, route, backend, server, release = "" }: Series): string {
  return `edge="${edge}",route="${route === "-" ? "" : route}",backend="${backend}",server="${server}",release="${release}"`;
}
