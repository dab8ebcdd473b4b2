import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** How many processes start at once when all of a host's have to: starting keeps the processor busy. */
export const STARTS_AT_ONCE = Math.max(4, 2 * availableParallelism());
/** Time after which one that has not come up yet keeps the others waiting no more, in milliseconds. */
export const READY_WAIT_MS = 3000;

/** Limits how many processes start at once, in the order in which they ask. */
export class StartLimiter {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(
    atOnce = STARTS_AT_ONCE,
    private readonly readyWait: () => Promise<unknown> = () => sleep(READY_WAIT_MS, undefined, { ref: false }),
  ) {
    this.free = atOnce;
  }

  /**
   * Starts something once it is its turn. The next one follows as soon as it is up, or was not for too long.
   *
   * @param start resolves once it runs, with what settles when it is up; undefined if there is nothing to wait for
   */
  async run(start: () => Promise<{ up: Promise<unknown> | undefined }>): Promise<void> {
    if (this.free > 0) this.free -= 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    let up: Promise<unknown> | undefined;
    try {
      ({ up } = await start());
    } finally {
      void Promise.race([Promise.allSettled([up]), ...(up === undefined ? [] : [this.readyWait()])]).then(() => {
        const next = this.waiting.shift();
        if (next === undefined) this.free += 1;
        else next();
      });
    }
  }
}
