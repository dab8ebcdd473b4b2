/** Delay before the first restart of a process that exited by itself, in milliseconds. */
export const RESTART_BASE_MS = 1000;
/** Longest delay between restarts, in milliseconds. */
export const RESTART_CAP_MS = 30_000;
/** Time after which a process counts as having run well, so that its delays start afresh, in milliseconds. */
export const RESTART_RESET_MS = 60_000;

/** Restarts in a row, and the delay before the next one. */
export interface Restarts {
  inARow: number;
  delayMs: number;
}

/** What to do after an exit of a process that should run: it doubles from 1 s to 30 s, and starts afresh after a minute of running. */
export function nextRestart(previous: Restarts | undefined, ranForMs: number): Restarts {
  const inARow = previous === undefined || ranForMs >= RESTART_RESET_MS ? 1 : previous.inARow + 1;
  return { inARow, delayMs: Math.min(RESTART_BASE_MS * 2 ** Math.min(inARow - 1, 20), RESTART_CAP_MS) };
}
