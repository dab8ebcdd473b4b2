// @ts-check
// Runs the test files given as arguments, with node's own runner. Started by tools/run.mjs with tsx registered, which
// the runner hands on to the process of each file.
import { setMaxListeners } from "node:events";
import { availableParallelism, constants } from "node:os";
import path from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { exitCode, summaryLines, TestCounter } from "./summary.mjs";

/** Longer than any file needs; a hang becomes a failure that names what had not ended. */
const FILE_DEADLINE_MS = 10 * 60_000;
/** Most tests wait for processes more than they compute, so that there is more than one for each core. */
const FEWEST_AT_A_TIME = 3;

/** Shorter than what tools/forward.mjs gives a run that is told to stop. */
const STOP_DEADLINE_MS = 2_000;

const root = path.resolve(fileURLToPath(new URL("../..", import.meta.url)));
const files = process.argv.slice(2).map((file) => path.resolve(file));
const stop = new AbortController();
// One for each file that runs, and more within the runner.
setMaxListeners(0, stop.signal);
let exitCodeOfStop = 0;
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
  process.once(signal, () => {
    exitCodeOfStop = 128 + constants.signals[signal];
    stop.abort();
    // Files clean up after themselves, which may take longer than whoever stopped the run waits.
    setTimeout(finish, STOP_DEADLINE_MS).unref();
  });
}

const counter = new TestCounter(files);
const events = run({
  files,
  concurrency: Math.max(FEWEST_AT_A_TIME, availableParallelism()),
  timeout: FILE_DEADLINE_MS,
  signal: stop.signal,
});
events.on("test:dequeue", (event) => counter.began(event));
events.on("test:pass", (event) => counter.passed(event));
events.on("test:fail", (event) => counter.failed(event));
// The totals come after everything that the reporter prints.
process.once("beforeExit", finish);
events.compose(new spec()).pipe(process.stdout);

function finish() {
  console.log(`\n${summaryLines(counter.summary, root).join("\n")}`);
  process.exit(exitCodeOfStop || exitCode(counter.summary));
}
