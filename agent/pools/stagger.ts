import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** How many processes come up at once where all of a host's have to: what starts is mostly busy with the processor. */
export const STARTS_AT_ONCE = Math.max(4, 2 * availableParallelism());
/** Time after which one that has not come up yet keeps the others waiting no more, in milliseconds. */
export const STAGGER_MS = 3000;

/** Lets so many processes come up at once, in the order in which they ask. */
export class Stagger {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(
    atOnce = STARTS_AT_ONCE,
    private readonly patience: () => Promise<unknown> = () => sleep(STAGGER_MS, undefined, { ref: false }),
  ) {
    this.free = atOnce;
  }

  /**
   * Starts something once it is its turn. The next one follows as soon as it is up, or was not for too long.
   *
   * @param start resolves once it runs, with what settles when it is up; nothing where there is nothing to wait for
   */
  async run(start: () => Promise<{ up: Promise<unknown> | undefined }>): Promise<void> {
    if (this.free > 0) this.free -= 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    let up: Promise<unknown> | undefined;
    try {
      ({ up } = await start());
    } finally {
      void Promise.race([Promise.allSettled([up]), ...(up === undefined ? [] : [this.patience()])]).then(() => {
        const next = this.waiting.shift();
        if (next === undefined) this.free += 1;
        else next();
      });
    }
  }
}
