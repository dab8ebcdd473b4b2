import { withTimeout } from "../../support/waiting";

/** Why an operation was told to stop. */
export class Interrupted extends Error {}

/** setTimeout cannot wait longer; such a timeout is none in practice. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The operations in flight, and the ways to stop them. */
export class Operations {
  readonly #running = new Set<AbortController>();
  #idle: (() => void)[] = [];
  #stopped: Interrupted | undefined;

  /**
   * Runs one operation with a signal of its own.
   * @param timeoutSeconds aborts the signal after this time; 0 for never
   * @param onAbandoned registers what tells that the caller has gone
   */
  async run<T>(
    timeoutSeconds: number,
    onAbandoned: (abandon: () => void) => void,
    operation: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController();
    this.#running.add(controller);
    onAbandoned(() => {
      // The end of a call that was answered is told in the same way.
      if (this.#running.has(controller)) controller.abort(new Interrupted("the engine went away"));
    });
    if (this.#stopped) controller.abort(this.#stopped);
    const timedOut = () => controller.abort(new Interrupted(`timed out after ${timeoutSeconds} s`));
    const timer = timeoutSeconds > 0 ? setTimeout(timedOut, Math.min(timeoutSeconds * 1_000, MAX_TIMER_MS)) : undefined;
    try {
      return await operation(controller.signal);
    } finally {
      clearTimeout(timer);
      this.#running.delete(controller);
      if (this.#running.size === 0) for (const wake of this.#idle.splice(0)) wake();
    }
  }

  /** Tells every operation in flight, and every later one, to stop. */
  stopAll(reason: string): void {
    this.#stopped ??= new Interrupted(reason);
    for (const controller of this.#running) controller.abort(this.#stopped);
  }

  /** Resolves to whether all operations had ended within the time. */
  async ended(withinMs: number): Promise<boolean> {
    if (this.#running.size === 0) return true;
    const idle = new Promise<boolean>((resolve) => {
      this.#idle.push(() => resolve(true));
    });
    return withTimeout(idle, withinMs, () => false);
  }
}
