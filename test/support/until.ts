import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../src/model/types/errors";

/**
 * Deadline for a condition on a machine where everything else runs at the same time; on an idle one it is met at once.
 */
const DEFAULT_DEADLINE_MS = 60_000;
const DEFAULT_INTERVAL_MS = 20;

export interface UntilOptions {
  /** In milliseconds. @default 60000 */
  deadlineMs?: number;
  /** Pause between two probes, in milliseconds. @default 20 */
  intervalMs?: number;
}

/**
 * Waits for a condition instead of for a time: resolves with the first truthy value of the probe.
 *
 * @param what the condition in words, for the error: `edge answers`; a function is asked at the deadline
 * @throws Error naming the condition, the deadline, and the last error of the probe or the last value; a probe that
 *   never settles is given up at the deadline as well
 */
export async function until<T>(
  what: string | (() => string),
  probe: () => T | Promise<T>,
  { deadlineMs = DEFAULT_DEADLINE_MS, intervalMs = DEFAULT_INTERVAL_MS }: UntilOptions = {},
): Promise<NonNullable<T>> {
  const giveUpAt = performance.now() + deadlineMs;
  let last: { value: unknown } | { error: unknown } | "pending" = "pending";
  for (;;) {
    const remainingMs = Math.max(giveUpAt - performance.now(), 0);
    const outcome = await settledWithin(remainingMs, probe);
    if (outcome === "pending") break;
    last = outcome;
    if ("value" in outcome && outcome.value) return outcome.value;
    if (performance.now() + intervalMs >= giveUpAt) break;
    await sleep(intervalMs);
  }
  const after = `not within ${deadlineMs} ms: ${typeof what === "string" ? what : what()}`;
  if (last === "pending") throw new Error(`${after} (the probe did not answer)`);
  if ("error" in last) throw new Error(`${after} (last error: ${messageOf(last.error)})`, { cause: last.error });
  throw new Error(`${after} (last value: ${String(last.value)})`);
}

async function settledWithin<T>(
  ms: number,
  probe: () => T | Promise<T>,
): Promise<{ value: T } | { error: unknown } | "pending"> {
  const timeout = new AbortController();
  const outcome = (async () => ({ value: await probe() }))().catch((error: unknown) => ({ error }));
  const pending = sleep(ms, "pending" as const, { signal: timeout.signal }).catch(() => "pending" as const);
  const first = await Promise.race([outcome, pending]);
  timeout.abort();
  return first;
}
