// @ts-check
// `node tools/reaper.mjs FOLDER`: outlives the run that started it, and ends everything that the run has left once its
// standard input closes, which happens whatever the run died of. Exits with 1 when there was something.
import { readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { processesOf } from "./processes.mjs";

/** Time in which daemons that have nothing left to do end by themselves, after a run that ended of its own accord. */
const GRACE_MS = 10_000;
/** A process that SIGKILL has not ended by then waits in the kernel. */
const KILL_DEADLINE_MS = 20_000;
const POLL_MS = 100;

const [folder = ""] = process.argv.slice(2);
// The reader may be gone already.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => undefined);

const said = await readAll(process.stdin);
const patient = said.includes("done");
if (patient) await until(() => processesOf(folder).length === 0, GRACE_MS);
/** @type {Map<number, string>} */
const ended = new Map();
const gone = await until(() => {
  const left = processesOf(folder);
  for (const pid of left) {
    if (!ended.has(pid)) ended.set(pid, commandOf(pid));
    kill(pid);
  }
  return left.length === 0;
}, KILL_DEADLINE_MS);
if (patient && ended.size > 0) {
  console.error(`✗ ended what the run had left: ${ended.size} processes`);
  for (const [pid, command] of ended) console.error(`  ${pid} ${command}`);
}
if (!gone) console.error(`✗ processes that SIGKILL does not end: ${processesOf(folder).join(", ")}`);
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
process.exit(ended.size > 0 ? 1 : 0);

/** @param {NodeJS.ReadableStream} stream */
async function readAll(stream) {
  let text = "";
  try {
    for await (const chunk of stream) text += chunk;
  } catch {
    // A pipe whose other end was torn off has closed, too.
  }
  return text;
}

/**
 * @param {() => boolean} condition
 * @param {number} deadlineMs
 */
async function until(condition, deadlineMs) {
  const giveUpAt = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > giveUpAt) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** @param {number} pid */
function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim();
  } catch {
    return "(it had just ended)";
  }
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile, or belongs to another user by now.
  }
}
