// @ts-check
import { availableParallelism } from "node:os";
import path from "node:path";

/** Seconds that a file takes of which nothing is known yet, by the beginning of its path; the first one counts. */
const GUESSES = /** @type {const} */ ([
  ["test/engine/routes/c", 160],
  ["test/engine/commands/", 180],
  ["test/cli/host/broken.", 130],
  ["test/engine/", 80],
  ["test/faults/", 70],
  ["test/stacks/", 30],
  ["test/model/", 2],
]);
const GUESS = 20;
/** Files of which each keeps a core busy for most of the time: they run the engine, whose programs take long to load. */
const BUSY = /^test\/(?:engine|faults|stacks)\//;

/**
 * @typedef {object} Width
 * @property {number} files that run at a time; most wait for processes more than they compute
 * @property {number} busy of those, files that compute for most of the time
 */

/** @returns {Width} */
export function widthOf(cores = availableParallelism()) {
  return { files: Math.max(4, 2 * cores), busy: Math.max(2, cores) };
}

/**
 * The file to start next: the longest that may run beside those that do, so that no long one is left to run alone at the end.
 *
 * @param {readonly string[]} waiting
 * @param {readonly string[]} running
 * @param {{root: string, times: Record<string, number>, width: Width}} options times: seconds of earlier runs by relative path
 * @returns {string | undefined}
 */
export function nextFile(waiting, running, { root, times, width }) {
  if (running.length >= width.files) return undefined;
  /** @param {string} file */
  const at = (file) => path.relative(root, file);
  /** @param {string} file */
  const isBusy = (file) => BUSY.test(at(file));
  const full = running.filter(isBusy).length >= width.busy;
  const allowed = waiting.filter((file) => !full || !isBusy(file));
  /** @param {string} file */
  const seconds = (file) => times[at(file)] ?? GUESSES.find(([start]) => at(file).startsWith(start))?.[1] ?? GUESS;
  const [first, ...rest] = allowed;
  return rest.reduce((longest, file) => (seconds(file) > seconds(longest ?? file) ? file : longest), first);
}
