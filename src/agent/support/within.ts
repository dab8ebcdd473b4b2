import { setTimeout as sleep } from "node:timers/promises";

/** Waits for work, but not longer than a time; the work goes on. */
export async function within(milliseconds: number, work: Promise<unknown> | undefined): Promise<void> {
  const enough = new AbortController();
  const waited = sleep(milliseconds, undefined, { signal: enough.signal }).catch(() => undefined);
  try {
    await Promise.race([work, waited]);
  } finally {
    enough.abort();
  }
}
