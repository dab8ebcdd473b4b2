import { setTimeout as sleep } from "node:timers/promises";

/** Time as waits see it; tests hand in their own. */
export interface WaitClock {
  /** Milliseconds that only grow. */
  now(): number;
  /** Pauses; rejects with an `AbortError` once the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

const SYSTEM_CLOCK: WaitClock = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal && { signal }),
};

interface WaitOptions {
  /** Pause between two looks, in milliseconds. */
  everyMs: number;
  /** Time after which the next look is the last one, in milliseconds; 0 for a single look. @default for ever */
  deadlineMs?: number;
  /** Ends the pauses between looks; a condition that looks for long has to heed it by itself. */
  signal?: AbortSignal | undefined;
}

/**
 * Looks at once, and then again and again until a condition holds.
 *
 * @param condition gives anything but `undefined` or `false` once it holds
 * @returns what it gave; undefined if it did not hold by the deadline
 * @throws the condition's own error, and an `AbortError` whose cause is the signal's reason
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { everyMs, deadlineMs = Number.POSITIVE_INFINITY, signal }: WaitOptions,
  clock: WaitClock = SYSTEM_CLOCK,
): Promise<Exclude<T, undefined | false> | undefined> {
  for (const giveUpAt = clock.now() + deadlineMs; ; await clock.sleep(everyMs, signal)) {
    const found = await condition();
    if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>;
    if (clock.now() >= giveUpAt) return undefined;
  }
}

/**
 * Waits for work, but not longer than a time; the work goes on. No timer outlives the wait.
 *
 * @param ms longest time, in milliseconds
 * @param late gives the answer of work that takes longer, or throws
 * @throws the work's own error, or that of `late`
 */
export async function withTimeout<T, L>(work: T | Promise<T>, ms: number, late: () => L): Promise<T | L> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), ms);
  }).then(late);
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs work one after the other, in the order in which it is asked for; a failure holds up nothing. */
export class Mutex {
  private tail: Promise<unknown> = Promise.resolve();

  /**
   * Runs work after everything that was asked for before.
   *
   * @returns the work's own result
   * @throws the work's own error
   */
  run<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.tail.then(work);
    this.tail = result.catch(() => undefined);
    return result;
  }

  /** Resolves once everything that was asked for until now has ended. Never rejects. */
  async idle(): Promise<void> {
    await this.tail;
  }
}
