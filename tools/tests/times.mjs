// @ts-check
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { codeOf } from "../setup/errors.mjs";

/** How many files are shown at the end of a run: those in which most of its time goes. */
const SHOWN = 15;

/**
 * How long test files took when they last ran here.
 *
 * @param {string} root the checkout
 * @returns {Record<string, number>} seconds by path, relative to the checkout; empty before the first run
 */
export function readTimes(root) {
  try {
    return JSON.parse(readFileSync(fileIn(root), "utf8"));
  } catch (error) {
    // One that a run with a full disk has left half written says as little.
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return {};
    throw error;
  }
}

/**
 * Keeps the times of this run beside those of files that it did not run.
 *
 * @param {string} root
 * @param {ReadonlyMap<string, number>} times seconds by absolute path
 */
export function writeTimes(root, times) {
  const own = [...times].filter(([file]) => file.startsWith(path.join(root, "test", path.sep)));
  if (own.length === 0) return;
  const named = own.map(([file, seconds]) => [path.relative(root, file), Math.round(seconds * 10) / 10]);
  const file = fileIn(root);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(
    `${file}.${process.pid}`,
    JSON.stringify({ ...readTimes(root), ...Object.fromEntries(named) }, null, 1),
  );
  renameSync(`${file}.${process.pid}`, file);
}

/** @param {string} root */
function fileIn(root) {
  return path.join(root, ".sluice", "test-times.json");
}

/**
 * The lines that say where a run's time went, the longest file first.
 *
 * @param {ReadonlyMap<string, number>} times seconds by absolute path
 * @param {{root: string, wall: number}} run wall: seconds of the whole run
 */
export function timeLines(times, { root, wall }) {
  const longest = [...times].sort(([, a], [, b]) => b - a).slice(0, SHOWN);
  const sum = [...times.values()].reduce((all, seconds) => all + seconds, 0);
  return [
    ...longest.map(([file, seconds]) => `${seconds.toFixed(1).padStart(7)} s  ${path.relative(root, file)}`),
    `${sum.toFixed(1).padStart(7)} s  in ${times.size} files, which took ${duration(wall)}`,
  ];
}

/** @param {number} seconds */
function duration(seconds) {
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}
