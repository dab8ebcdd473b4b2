import { z } from "zod";
import { duration, milliseconds } from "../types/duration";

/** How a process is started again that exits by itself, or restarts for its memory or its health. Change: live. */
export const restartPolicy = z.strictObject({
  /** Delay before the first restart, 0 to 1 hour. @default "1 second" */
  delay: duration({ max: "1 hour" }).default("1 second"),
  /** How much longer each further delay is, 1 to 10. @default 2 */
  factor: z.number().min(1).max(10).default(2),
  /** Longest delay. @default "30 seconds" */
  cap: duration({ max: "1 hour" }).default("30 seconds"),
  /** How much longer a delay is at most, at random, so that what crashes together does not start together: 0 to 1. @default 0.1 */
  jitter: z.number().min(0).max(1).default(0.1),
  /** Restarts within the window beyond which the process is `failed`, 0 to 1000; 0 fails at the first exit. @default 20 */
  maxRestarts: z.int().min(0).max(1000).default(20),
  /** Rolling window of those restarts; a process that was up for so long starts afresh. "0 seconds": its lifetime. @default "10 minutes" */
  window: duration({ max: "24 days" }).default("10 minutes"),
});
export type RestartPolicy = z.output<typeof restartPolicy>;

/** Decision after an exit that nobody asked for. */
export interface RestartDecision {
  /** When restarts were due to ends like this one, this one included, in milliseconds since the epoch: within the window only. */
  history: number[];
  /** Delay until the start in milliseconds; undefined: it has failed. */
  delayMs: number | undefined;
}

/**
 * Decides on the restart of a process that should run and has ended.
 *
 * @param history of the decision before
 * @param ranForMs how long it was up
 * @param now milliseconds since the epoch
 * @param random for the jitter, from 0 to 1
 */
export function nextRestart(
  policy: RestartPolicy,
  { history, ranForMs, now, random }: { history: readonly number[]; ranForMs: number; now: number; random: number },
): RestartDecision {
  const within = restartsWithin(policy, history, now);
  const windowMs = milliseconds(policy.window);
  const before = windowMs > 0 && ranForMs >= windowMs ? [] : within;
  if (before.length >= policy.maxRestarts) return { history: before, delayMs: undefined };
  // More doublings than this make no difference to any cap, and would leave the range of numbers.
  const longer = policy.factor ** Math.min(before.length, 64);
  const exactMs = Math.min(milliseconds(policy.delay) * longer, milliseconds(policy.cap));
  const delayMs = Math.round(exactMs * (1 + policy.jitter * random));
  return { history: [...before, now], delayMs };
}

/** The restarts of a history that count now. A clock that was set back must not make them last. */
export function restartsWithin({ window }: RestartPolicy, history: readonly number[], now: number): number[] {
  const windowMs = milliseconds(window);
  return windowMs === 0 ? [...history] : history.filter((at) => Math.abs(now - at) < windowMs);
}
