import { setTimeout as sleep } from "node:timers/promises";

/** Time to observe everything on the host, in milliseconds: less than clients wait for an answer. */
const OBSERVE_DEADLINE_MS = 8000;

/** Rejects when an observation takes longer than its client waits for the answer. */
export async function tooLong(who = "HAProxy"): Promise<never> {
  await sleep(OBSERVE_DEADLINE_MS, undefined, { ref: false });
  throw new Error(`${who} did not answer within ${OBSERVE_DEADLINE_MS} ms: is it stopped?`);
}
