// @ts-check
import { spawn } from "node:child_process";
import { codeOf } from "./errors.mjs";

/** How much of a command's output is kept; the end says why it failed. */
const KEPT_OUTPUT_CHARACTERS = 20_000;

/**
 * @typedef {object} CommandResult
 * @property {boolean} ok it ran and exited with 0 in time
 * @property {string} stdout
 * @property {string} output stdout and stderr as they came, the last 20,000 characters
 * @property {string} failure empty when ok, else for example `exited with 1` or `took longer than 5 s`
 */

/** @type {Set<number>} */
const runningGroups = new Set();

/** Ends every command that still runs, with its children; for use when the set-up itself is told to stop. */
export function stopCommands() {
  for (const pid of runningGroups) killGroup(pid);
}

/**
 * Runs a command without a terminal or input and collects what it prints. It runs in a process group of its own, so
 * that running out of time ends its children as well. Never rejects.
 *
 * @param {string} file
 * @param {readonly string[]} args
 * @param {{env: NodeJS.ProcessEnv, cwd?: string, timeoutMs: number}} options
 * @returns {Promise<CommandResult>}
 */
export function runCommand(file, args, { env, cwd, timeoutMs }) {
  return new Promise((resolve) => {
    let stdout = "";
    let output = "";
    let timedOut = false;
    const child = spawn(file, args, { env, cwd, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const { pid } = child;
    if (pid !== undefined) runningGroups.add(pid);
    const timer = setTimeout(() => {
      timedOut = true;
      if (pid !== undefined) killGroup(pid);
    }, timeoutMs);

    /** @param {string} failure */
    const finish = (failure) => {
      clearTimeout(timer);
      if (pid !== undefined) runningGroups.delete(pid);
      resolve({ ok: failure === "", stdout, output: output.trim(), failure });
    };
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout = (stdout + text).slice(-KEPT_OUTPUT_CHARACTERS);
      output = (output + text).slice(-KEPT_OUTPUT_CHARACTERS);
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output = (output + text).slice(-KEPT_OUTPUT_CHARACTERS);
    });
    child.on("error", (error) => finish(`could not be started: ${error.message}`));
    child.on("close", (code, signal) => {
      if (timedOut) finish(`took longer than ${timeoutMs / 1000} s`);
      else if (signal !== null) finish(`was ended by ${signal}`);
      else finish(code === 0 ? "" : `exited with ${code}`);
    });
  });
}

/** @param {number} pid */
function killGroup(pid) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // The group may have ended between the decision and the signal.
    if (codeOf(error) !== "ESRCH") throw error;
  }
}
