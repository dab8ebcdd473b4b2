import { BUCKETS, bucketOf, quantile, type Sparse } from "../../model/gate/histogram";
import type { MirrorFigures } from "../../model/route/mirror";

/** Counters of a route's copies. */
export class Figures {
  private readonly since = new Date().toISOString();
  private readonly statuses = new Map<number, number>();
  private readonly dropped = new Map<string, number>();
  private readonly latencies = new Uint32Array(BUCKETS);
  received = 0;
  answered = 0;

  /** @param ms time to the head of the answer */
  answer(status: number, ms: number): void {
    this.answered++;
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    const bucket = bucketOf(Math.round(ms));
    this.latencies[bucket] = (this.latencies[bucket] ?? 0) + 1;
  }

  drop(reason: string, copies = 1): void {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + copies);
  }

  toAnswer(pending: number): MirrorFigures {
    const latencies: Sparse = [...this.latencies.entries()].filter(([, count]) => count > 0);
    const at = (share: number) => quantile(latencies, share) ?? 0;
    return {
      since: this.since,
      received: this.received,
      answered: this.answered,
      pending,
      statuses: Object.fromEntries(this.statuses),
      latency: latencies.length === 0 ? null : { p50: at(0.5), p95: at(0.95), p99: at(0.99) },
      dropped: Object.fromEntries(this.dropped),
    };
  }
}
