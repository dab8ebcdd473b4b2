// @ts-check
// Runs the test files given as arguments, with node's own runner. Started by tools/run.mjs with tsx registered, which
// the runner hands on to the process of each file.
import { setMaxListeners } from "node:events";
import { constants } from "node:os";
import path from "node:path";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { nextFile, widthOf } from "./schedule.mjs";
import { exitCode, summaryLines, TestCounter } from "./summary.mjs";
import { readTimes, timeLines, writeTimes } from "./times.mjs";

/** Longer than any file needs; a hang becomes a failure that names what had not ended. */
const FILE_DEADLINE_MS = 10 * 60_000;
/** Shorter than what tools/forward.mjs gives a run that is told to stop. */
const STOP_DEADLINE_MS = 2_000;

const root = path.resolve(fileURLToPath(new URL("../..", import.meta.url)));
const files = process.argv.slice(2).map((file) => path.resolve(file));
const before = readTimes(root);
const waiting = new Set(files);
/** Events of the files that run. @type {Map<string, {type: string, data: any}[]>} */
const running = new Map();
/** Seconds of each file that has ended. @type {Map<string, number>} */
const times = new Map();
const startedAt = performance.now();
const stop = new AbortController();
// One for each file that runs, and more within the runner.
setMaxListeners(0, stop.signal);
let exitCodeOfStop = 0;
let finishing = false;
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
  process.on(signal, () => {
    // Ctrl-C comes from the terminal, and again by way of npm and of tools/forward.mjs.
    if (exitCodeOfStop !== 0) return;
    exitCodeOfStop = 128 + constants.signals[signal];
    waiting.clear();
    stop.abort();
    // Files clean up after themselves, which may take longer than whoever stopped the run waits.
    setTimeout(finish, STOP_DEADLINE_MS).unref();
  });
}

const counter = new TestCounter(files);
const report = new PassThrough({ objectMode: true });
const shown = report.compose(new spec());
shown.pipe(process.stdout);
// The totals come after everything that the reporter prints.
process.once("beforeExit", finish);
startFiles();

/** Starts as many files as may run at a time. */
function startFiles() {
  for (;;) {
    const file = nextFile([...waiting], [...running.keys()], { root, times: before, width: widthOf() });
    if (file === undefined) break;
    waiting.delete(file);
    running.set(file, []);
    const began = performance.now();
    // A runner of its own for each file, since one for all starts them in no order of ours and tells no times.
    run({ files: [file], concurrency: 1, timeout: FILE_DEADLINE_MS, signal: stop.signal })
      .on("data", (event) => running.get(file)?.push(event))
      .once("end", () => {
        times.set(file, (performance.now() - began) / 1000);
        ended(file);
        startFiles();
      });
  }
  if (running.size === 0 && waiting.size === 0) report.end();
}

/**
 * Counts and shows what the runner has said of a file, at once, so that files do not get mixed.
 *
 * @param {string} file
 */
function ended(file) {
  for (const event of running.get(file) ?? []) {
    if (event.type === "test:dequeue") counter.began(event.data);
    if (event.type === "test:pass") counter.passed(event.data);
    if (event.type === "test:fail") counter.failed(event.data);
    // Totals of the one file.
    const total = (event.type === "test:diagnostic" && event.data.nesting === 0) || event.type === "test:summary";
    if (!total) report.write(event);
  }
  running.delete(file);
}

async function finish() {
  if (finishing) return;
  finishing = true;
  for (const file of running.keys()) {
    ended(file);
    const error = Object.assign(new Error("stopped"), { failureType: "testAborted" });
    counter.failed({ name: file, nesting: 0, file, details: { error } });
  }
  report.end();
  await finished(shown, { writable: false });
  const wall = (performance.now() - startedAt) / 1000;
  const lines = files.length > 1 ? ["", ...timeLines(times, { root, wall })] : [];
  if (exitCodeOfStop === 0) writeTimes(root, times);
  lines.push("", ...summaryLines(counter.summary, root));
  // An exit before a slow reader has taken it all would cut it off.
  process.stdout.write(`${lines.join("\n")}\n`, () => process.exit(exitCodeOfStop || exitCode(counter.summary)));
}
