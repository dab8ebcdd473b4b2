// @ts-check
import { readdirSync, readFileSync } from "node:fs";
import { codeOf } from "./setup/errors.mjs";

/**
 * @typedef {object} Found
 * @property {number} pid
 * @property {number} parent
 * @property {string} state as /proc says: `Z` and `X` are dead
 * @property {string} started clock ticks since the host's boot
 */

/**
 * The live processes of a run, this one excepted: those whose environment or command line names the run's folder, and
 * all that descend from them. Daemons are among them, since they keep TMPDIR, or are started on a file in that folder.
 *
 * @param {string} folder
 * @returns {number[]}
 */
export function processesOf(folder) {
  const all = allProcesses();
  const mine = new Set(all.filter(({ pid }) => names(pid, folder)).map(({ pid }) => pid));
  for (let before = -1; before !== mine.size; ) {
    before = mine.size;
    for (const { pid, parent } of all) if (mine.has(parent)) mine.add(pid);
  }
  mine.delete(process.pid);
  return [...mine];
}

/** @returns {Found[]} */
export function allProcesses() {
  return readdirSync("/proc").flatMap((name) => {
    const found = /^\d+$/.test(name) ? readProcess(Number(name)) : undefined;
    return found === undefined || found.state === "Z" || found.state === "X" ? [] : [found];
  });
}

/**
 * @param {number} pid
 * @returns {Found | undefined} undefined when there is none
 */
export function readProcess(pid) {
  const text = read(`/proc/${pid}/stat`);
  // The second field is the program's name in parentheses, which may itself hold parentheses.
  const [state, parent, ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const started = rest[17];
  return state === undefined || started === undefined ? undefined : { pid, state, parent: Number(parent), started };
}

/**
 * @param {number} pid
 * @param {string} folder
 */
function names(pid, folder) {
  return ["cmdline", "environ"].some((file) => read(`/proc/${pid}/${file}`).includes(folder));
}

/**
 * @param {string} file
 * @returns {string} empty for a process that is gone, or another user's
 */
export function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(String(codeOf(error)))) return "";
    throw error;
  }
}
