/**
 * Puts in what is due, and gives jobs of workers that died to others. There must never be two of it.
 *
 *   BROKER_PORT=18321 node coordinator.mjs
 */
import { setTimeout as sleep } from "node:timers/promises";
import { broker, log } from "./common.mjs";

const INTERVAL_MS = 2_000;
/** Longer than any job takes. */
const LEASE_MS = 30_000;
const stopping = new AbortController();

process.once("SIGTERM", () => stopping.abort());
log("ready");
while (!stopping.signal.aborted) {
  try {
    await broker("POST", "/jobs", { kind: "report", seconds: 0.5 });
    const { body } = await broker("POST", "/requeue", { olderThanMs: LEASE_MS });
    if (body.requeued.length > 0) log(`requeued ${body.requeued.join(", ")}`);
  } catch (error) {
    log(`error: ${error.cause?.message ?? error.message}`);
  }
  // Work under way is finished first; only the pause is cut short.
  await sleep(INTERVAL_MS, undefined, { signal: stopping.signal }).catch((error) => {
    if (error.name !== "AbortError") throw error;
  });
}
log("stopped");
