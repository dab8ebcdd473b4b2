// @ts-check
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, symlinkSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { read, readProcess } from "./processes.mjs";

const REAPER = fileURLToPath(new URL("reaper.mjs", import.meta.url));
/** A run that was told to stop has so long to end by itself and to say how it went; then all of it is killed. */
const STOP_DEADLINE_MS = 4_000;
const WATCH_MS = 500;

/**
 * Runs a command in this process's place: same terminal, signals passed on, and this process ends as the command did. When
 * it is `reaped` and ends, whatever ends it, nothing that it started is left, daemons included: they are known by the
 * temporary folder of the run's own, which goes as well.
 *
 * @param {string} file
 * @param {string[]} args
 * @param {{cwd: string, env: NodeJS.ProcessEnv, reaped?: boolean}} options
 * @returns {Promise<void>} when the command and the rest have ended; exit code or signal have been taken over
 */
export async function runForward(file, args, { cwd, env, reaped = true }) {
  const reaper = reaped
    ? startReaper(temporaryFolder())
    : { env: {}, kill: async () => false, finish: async () => false };
  const child = spawn(file, args, { cwd, env: { ...env, ...reaper.env }, stdio: "inherit" });
  let told = false;
  /** @param {NodeJS.Signals} signal */
  const forward = (signal) => {
    if (!told) setTimeout(() => reaper.kill(), STOP_DEADLINE_MS).unref();
    told = true;
    // A terminal sends Ctrl-C to the command as well; twice would mean "at once" to many programs.
    if (signal === "SIGINT" && process.stdin.isTTY) return;
    child.kill(signal);
  };
  const signals = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);
  for (const signal of signals) process.on(signal, forward);
  const watch = watchNpm(() => {
    if (!told) forward("SIGTERM");
  });
  const { code, signal } = await ended(child);
  clearInterval(watch);
  const leftSomething = await (told || signal !== null ? reaper.kill() : reaper.finish());
  for (const name of signals) process.off(name, forward);
  if (signal !== null) process.kill(process.pid, signal);
  else process.exitCode = code || (leftSomething && !told ? 1 : 0);
}

/** Short, as Unix sockets in it have at most 107 bytes; for programs that run as other users, too. */
function temporaryFolder() {
  const system = realpathSync(tmpdir());
  const folder = mkdtempSync(path.join(system, "sl-"));
  chmodSync(folder, 0o1777);
  // Folder in which tsx keeps its compiled files, for all runs.
  const cache = `tsx-${userInfo().uid}`;
  mkdirSync(path.join(system, cache), { recursive: true });
  symlinkSync(path.join(system, cache), path.join(folder, cache));
  return folder;
}

/**
 * Starts what ends the run's processes, out of reach of the terminal's signals.
 *
 * @param {string} folder
 */
function startReaper(folder) {
  const reaper = spawn(process.execPath, [REAPER, folder], { detached: true, stdio: ["pipe", "inherit", "inherit"] });
  // It may have ended before it was told anything.
  reaper.stdin.on("error", () => undefined);
  const gone = ended(reaper);
  /** @param {string} word */
  const end = async (word) => {
    reaper.stdin.end(word);
    return (await gone).code === 1;
  };
  return {
    env: { TMPDIR: folder },
    /** Lets daemons that have nothing left to do end by themselves. Whether it had to end some. */
    finish: () => end("done"),
    kill: () => end(""),
  };
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @returns {Promise<{code: number | null, signal: NodeJS.Signals | null}>}
 */
function ended(child) {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
}

/**
 * Notices that the npm that started this process was killed, which tells nobody.
 *
 * @param {() => void} onGone
 */
function watchNpm(onGone) {
  const npm = process.env.npm_lifecycle_event === undefined ? undefined : npmAbove(process.ppid);
  if (npm === undefined) return undefined;
  return setInterval(() => {
    if (!isNpm(npm)) onGone();
  }, WATCH_MS);
}

/**
 * @param {number} pid
 * @returns {number | undefined}
 */
function npmAbove(pid) {
  if (pid <= 1) return undefined;
  return isNpm(pid) ? pid : npmAbove(readProcess(pid)?.parent ?? 0);
}

/** @param {number} pid npm's title is its command line */
function isNpm(pid) {
  return /(?:^|[/ ])npm(?:-cli\.js)?(?:[ \0]|$)/.test(read(`/proc/${pid}/cmdline`));
}
