// @ts-check
// `node tools/ci/left.mjs note FILE` writes down which processes run and which TCP ports are listened on;
// `node tools/ci/left.mjs check FILE` fails, and tells what there is, where either has become more since then.
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { allProcesses, read } from "../processes.mjs";

/** Time in which a process with nothing left to do ends by itself. */
const GRACE_MS = 10_000;
const POLL_MS = 200;
/** State of a listening socket in /proc/net/tcp. */
const LISTEN = "0A";

const [verb, file = ""] = process.argv.slice(2);
if (verb === "note") writeFileSync(file, JSON.stringify(now()));
else process.exitCode = await check(JSON.parse(readFileSync(file, "utf8")));

/** @returns {string[]} each process by pid, start and command, and each port */
function now() {
  const mine = ancestors();
  const processes = allProcesses().flatMap(({ pid }) => {
    const command = read(`/proc/${pid}/cmdline`).split("\0").join(" ").trim();
    // Those of the kernel have no command line.
    return command === "" || mine.has(pid)
      ? []
      : [`process ${pid} (started at ${startOf(pid)}): ${command.slice(0, 200)}`];
  });
  return [...processes, ...["tcp", "tcp6"].flatMap(listening)];
}

/** @param {string[]} before */
async function check(before) {
  const known = new Set(before);
  const left = () => now().filter((each) => !known.has(each));
  for (const giveUpAt = performance.now() + GRACE_MS; left().length > 0 && performance.now() < giveUpAt; )
    await sleep(POLL_MS);
  const found = left();
  for (const each of found) console.error(`left: ${each}`);
  return found.length > 0 ? 1 : 0;
}

/** @param {string} protocol */
function listening(protocol) {
  const [, ...rows] = read(`/proc/net/${protocol}`).split("\n");
  return rows.flatMap((row) => {
    const [, local = "", , state] = row.trim().split(/\s+/);
    const [address, port = ""] = local.split(":");
    return state === LISTEN ? [`${protocol} port ${Number.parseInt(port, 16)} of address ${address}`] : [];
  });
}

/** @param {number} pid */
function startOf(pid) {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

/** This process and those that it was started by. */
function ancestors() {
  const parents = new Map(allProcesses().map(({ pid, parent }) => [pid, parent]));
  /** @type {Set<number>} */
  const found = new Set();
  for (let pid = process.pid; pid > 0 && !found.has(pid); pid = parents.get(pid) ?? 0) found.add(pid);
  return found;
}
