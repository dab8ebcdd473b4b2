/**
 * Does one job at a time. SIGUSR2 (the quiet command) and SIGTERM: takes no more, finishes the one it has, exits.
 *
 *   BROKER_PORT=18321 node worker.mjs
 */
import { setTimeout as sleep } from "node:timers/promises";
import { broker, log, releaseOf } from "./common.mjs";

const IDLE_MS = 200;
const { id: release } = releaseOf();
const me = `${release} ${process.env.SLUICE_PROCESS_ID ?? process.pid}`;
let quiet = false;

for (const signal of ["SIGUSR2", "SIGTERM"]) {
  process.on(signal, () => {
    quiet = true;
    log(`${signal}: no more jobs`);
  });
}

log("ready");
while (!quiet) {
  try {
    const { status, body: job } = await broker("POST", "/lease", { worker: me });
    if (status !== 200) {
      await sleep(IDLE_MS);
      continue;
    }
    // The work itself.
    await sleep(job.seconds * 1000);
    await broker("POST", "/done", { id: job.id, by: me });
    log(`job ${job.id} is done`);
  } catch (error) {
    // The job's lease ends, and another worker gets it.
    log(`error: ${error.cause?.message ?? error.message}`);
    await sleep(IDLE_MS);
  }
}
log("finished");
