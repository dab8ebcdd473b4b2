import { setTimeout as sleep } from "node:timers/promises";

/** Rest after a failed attempt, so that a target that is gone is asked a few times a second, not in a spin. */
const FAILURE_PAUSE_MS = 250;

/**
 * Calls `send` `perSecond` times a second, with the time (of `performance.now()`) for which each call was meant.
 *
 * The schedule is an open loop: it never waits for answers, and calls that are overdue (a busy machine) are made up
 * for at once with their intended time. Who measures from that time does not omit the waits that a stalled
 * target would have caused (no coordinated omission). Timers are good to about 1 ms, which latencies include.
 *
 * Returns a function that ends it.
 */
export function pace(perSecond: number, send: (intendedAt: number) => void): () => void {
  if (perSecond <= 0) return () => undefined;
  const interval = 1000 / perSecond;
  const start = performance.now();
  let sent = 0;
  let timer = setTimeout(tick, 0);
  function tick(): void {
    const now = performance.now();
    while (start + sent * interval <= now) {
      send(start + sent * interval);
      sent++;
    }
    timer = setTimeout(tick, start + sent * interval - performance.now());
  }
  return () => clearTimeout(timer);
}

/**
 * Keeps `count` attempts running, each followed by the next. `attempt` resolves to whether it went well, and never rejects.
 *
 * Returns a function that starts no more, and resolves when the last one has ended.
 */
export function keepRunning(count: number, attempt: (lane: number) => Promise<boolean>): () => Promise<void> {
  let stopped = false;
  async function run(lane: number): Promise<void> {
    while (!stopped) {
      if (!(await attempt(lane)) && !stopped) await sleep(FAILURE_PAUSE_MS);
    }
  }
  const lanes = Array.from({ length: count }, (_, lane) => run(lane));
  return async () => {
    stopped = true;
    await Promise.all(lanes);
  };
}
