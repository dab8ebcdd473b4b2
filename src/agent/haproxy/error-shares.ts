import type { BackendTotals } from "./runtime/backend-totals";

/** Time that is looked back over, in milliseconds. */
const WINDOW_MS = 60_000;
/** Requests within it below which a share says nothing. */
const MIN_ANSWERED = 20;
/** Share of failed requests from which on it is a problem: above what a single bad request or a short deployment makes. */
const CONSIDERABLE = 0.1;

/** Requests that a backend answered within the last minute. */
export interface ErrorShare {
  answered: number;
  /** Those with a status from 500. */
  failed: number;
}

interface Backend {
  last: Pick<BackendTotals, "answered" | "failed">;
  /** What came between two looks, by the time of the later one. */
  since: (ErrorShare & { at: number })[];
}

/** Tells which backends answer a considerable share of their requests with a status from 500. */
export class ErrorShares {
  private readonly backends = new Map<string, Backend>();

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Takes what a worker has counted since its start. */
  saw(totals: ReadonlyMap<string, BackendTotals>): void {
    const at = this.now();
    for (const name of this.backends.keys()) if (!totals.has(name)) this.backends.delete(name);
    for (const [name, { answered, failed }] of totals) {
      const backend = this.backends.get(name);
      if (backend === undefined) {
        this.backends.set(name, { last: { answered, failed }, since: [] });
        continue;
      }
      // A new worker counts from 0.
      const { last } = backend;
      const from = answered < last.answered || failed < last.failed ? { answered: 0, failed: 0 } : last;
      backend.since.push({ at, answered: answered - from.answered, failed: failed - from.failed });
      backend.last = { answered, failed };
      while ((backend.since[0]?.at ?? at) <= at - WINDOW_MS) backend.since.shift();
    }
  }

  /** Backends with a considerable share of errors within the last minute. */
  considerable(): Record<string, ErrorShare> {
    const from = this.now() - WINDOW_MS;
    const shares = [...this.backends].map(([name, { since }]): [string, ErrorShare] => {
      const within = since.filter(({ at }) => at > from);
      const sum = (pick: (each: ErrorShare) => number) => within.reduce((total, each) => total + pick(each), 0);
      return [name, { answered: sum(({ answered }) => answered), failed: sum(({ failed }) => failed) }];
    });
    return Object.fromEntries(
      shares.filter(([, { answered, failed }]) => answered >= MIN_ANSWERED && failed >= answered * CONSIDERABLE),
    );
  }
}
