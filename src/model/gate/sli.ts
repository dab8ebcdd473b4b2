import { z } from "zod";
import { backendName, name, releaseId } from "../types/names";
import { countOf, merge, middleOf, quantile, type Sparse } from "./histogram";

/** Stands for the shadow in a backend's place: what it answered to the copies of a route's requests. Users' names hold no underscore. */
export const SHADOW = "_shadow";

/** Selects requests: those that match every given property. Copies are meant only where {@link SHADOW} is named. */
const sliSelector = z.strictObject({
  edge: name,
  /** Name of a route. */
  route: z.string().min(1).max(64).optional(),
  backend: z.union([backendName, z.literal(SHADOW)]).optional(),
  /** Name of a server within HAProxy. */
  server: z.string().min(1).max(80).optional(),
  release: releaseId.optional(),
});
export type SliSelector = z.output<typeof sliSelector>;

/** A query: a selector and a window in milliseconds since the epoch, `from` included and `to` not. */
export const sliQuery = sliSelector
  .extend({ from: z.coerce.number().int().min(0), to: z.coerce.number().int().min(0) })
  .refine(({ from, to }) => from < to, { path: ["to"], error: "is not after from: give the end of the window" });
export type SliQuery = z.output<typeof sliQuery>;

/** Requests of a window by how they ended. Those that the client gave up are only in `aborted`. */
export interface Counts {
  /** All that were answered, or failed for a reason on the server's side. */
  requests: number;
  /** Given up by the client, or never sent by it as a whole; copies that never came to the shadow. */
  aborted: number;
  status4xx: number;
  /** Answered with a status from 500, HAProxy's own 502, 503 and 504 included. */
  status5xx: number;
  /** Of those, where no server could be connected to. */
  connect: number;
  /** Cut off by the server after an answer below 500 had begun. */
  cut: number;
  /** Sent to clients, in bytes. */
  bytes: number;
}

/** Measurements of an edge's meter over a window. */
export interface SliAnswer {
  /** The window in the meter's own slots: not before what was asked for. In milliseconds since the epoch. */
  from: number;
  to: number;
  /** Time within the window for which the meter ran, in milliseconds. With 0 there is no data, which is not "no requests". */
  coveredMs: number;
  /** Requests of the edge that HAProxy could not tell the meter of, as it was too slow or away. */
  lost: number;
  counts: Counts;
  /**
   * Time from a request's arrival to the head of its answer, in milliseconds: queue, connection and server. Also of those that
   * the client gave up later.
   */
  head: Sparse;
  /** The same to the last byte that the client got; WebSockets and other tunnels are left out. */
  total: Sparse;
  /** Times after which clients gave up waiting for a head, in milliseconds: they would have had to wait longer. */
  waited?: Sparse | undefined;
  /** The agent's clock when it answered, in milliseconds since the epoch. */
  now?: number | undefined;
}

/** Merges the measurements of several edges over the same window. */
export function mergeAnswers(answers: readonly [SliAnswer, ...SliAnswer[]]): SliAnswer {
  const sum = (pick: (answer: SliAnswer) => number) => answers.reduce((total, answer) => total + pick(answer), 0);
  return {
    from: Math.max(...answers.map(({ from }) => from)),
    to: Math.min(...answers.map(({ to }) => to)),
    coveredMs: Math.min(...answers.map(({ coveredMs }) => coveredMs)),
    lost: sum(({ lost }) => lost),
    counts: {
      requests: sum(({ counts }) => counts.requests),
      aborted: sum(({ counts }) => counts.aborted),
      status4xx: sum(({ counts }) => counts.status4xx),
      status5xx: sum(({ counts }) => counts.status5xx),
      connect: sum(({ counts }) => counts.connect),
      cut: sum(({ counts }) => counts.cut),
      bytes: sum(({ counts }) => counts.bytes),
    },
    head: merge(answers.map(({ head }) => head)),
    total: merge(answers.map(({ total }) => total)),
    waited: merge(answers.map(({ waited }) => waited ?? [])),
  };
}

const QUANTILES = { p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99 } as const;
const RATIO_METRICS = ["errors", "5xx", "4xx"] as const;
const LATENCY_METRICS = ["p50", "p90", "p95", "p99", "total p50", "total p90", "total p95", "total p99"] as const;
export const SLI_METRICS = [...RATIO_METRICS, ...LATENCY_METRICS] as const;
export type RatioMetric = (typeof RATIO_METRICS)[number];
export type LatencyMetric = (typeof LATENCY_METRICS)[number];
/**
 * Metric of a threshold: a share of requests (`5xx`, `4xx`, and `errors`: 5xx or cut off by the server), or a latency
 * to the head of the answer, or with `total` to its last byte.
 */
export type SliMetric = RatioMetric | LatencyMetric;

export function isRatio(metric: SliMetric): metric is RatioMetric {
  return (RATIO_METRICS as readonly string[]).includes(metric);
}

/** Requests that a share is about. */
export function bad({ counts }: Pick<SliAnswer, "counts">, metric: RatioMetric): number {
  if (metric === "4xx") return counts.status4xx;
  return metric === "5xx" ? counts.status5xx : counts.status5xx + counts.cut;
}

/** The histogram that a latency is read from, and the share of its values that the latency bounds. */
export function distribution(answer: SliAnswer, metric: LatencyMetric): { histogram: Sparse; share: number } {
  const ofTotal = metric.startsWith("total ");
  const key = (ofTotal ? metric.slice("total ".length) : metric) as keyof typeof QUANTILES;
  const share = QUANTILES[key];
  return { histogram: withWaited(ofTotal ? answer.total : answer.head, answer.waited ?? [], share), share };
}

/**
 * A histogram with those who gave up after they had waited for longer than its quantile: what they waited for took longer
 * still. Without them, an app that never answers some requests would look fast to a client that is not patient. Those who
 * gave up earlier could have got a fast answer: they are left out.
 */
function withWaited(histogram: Sparse, waited: Sparse, share: number): Sparse {
  if (waited.length === 0) return histogram;
  for (let known = histogram, above = waited; ; ) {
    const value = quantile(known, share);
    const still = value === undefined ? [] : above.filter(([bucket]) => middleOf(bucket) > value);
    known = merge([histogram, still]);
    // A higher quantile leaves out more of them, until all that are left are above it.
    if (still.length === above.length) return known;
    above = still;
  }
}

/** How many samples a metric has. */
export function samples(answer: SliAnswer, metric: SliMetric): number {
  return isRatio(metric) ? answer.counts.requests : countOf(distribution(answer, metric).histogram);
}

/** A metric's value: a share from 0 to 1, or milliseconds; nothing without a sample. */
export function measure(answer: SliAnswer, metric: SliMetric): number | undefined {
  if (isRatio(metric)) return answer.counts.requests === 0 ? undefined : bad(answer, metric) / answer.counts.requests;
  const { histogram, share } = distribution(answer, metric);
  return quantile(histogram, share);
}
