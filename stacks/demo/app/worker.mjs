/**
 * A background worker: one heartbeat line each second with its release, until SIGTERM (exit code 0).
 * Use it as a companion (one per release) or as a singleton (one at a time).
 *
 *   node worker.mjs --release ../releases/v1
 */
import { log as logAs, readRelease, readSettings } from "./settings.mjs";

const HEARTBEAT_MS = 1000;

const { version } = readRelease(readSettings().releasePath);
const log = (text) => logAs(`worker ${version}`, text);
let beats = 0;

log(`started, pid ${process.pid}`);
setInterval(() => log(`heartbeat ${++beats}`), HEARTBEAT_MS);
process.once("SIGTERM", () => {
  log("stopped");
  process.exit(0);
});
