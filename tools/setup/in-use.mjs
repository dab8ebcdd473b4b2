// @ts-check
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { read, readProcess } from "../processes.mjs";

/**
 * Notes that this process runs with what is installed in a checkout, until it ends.
 *
 * @param {string} root the checkout
 */
export function markInUse(root) {
  const file = path.join(folderIn(root), String(process.pid));
  mkdirSync(folderIn(root), { recursive: true });
  writeFileSync(file, startOf(process.pid) ?? "");
  process.once("exit", () => rmSync(file, { force: true }));
}

/**
 * Other processes that run with what is installed in a checkout. The notes of those that were killed are removed.
 *
 * @param {string} root
 * @returns {number[]}
 */
export function othersUsing(root) {
  return notesIn(root).filter((pid) => {
    const file = path.join(folderIn(root), String(pid));
    // A pid alone is reused.
    const uses = read(file) === startOf(pid);
    if (!uses) rmSync(file, { force: true });
    return uses && pid !== process.pid;
  });
}

/** @param {string} root */
function notesIn(root) {
  mkdirSync(folderIn(root), { recursive: true });
  return readdirSync(folderIn(root)).map(Number);
}

/** @param {string} root */
function folderIn(root) {
  return path.join(root, ".sluice", "in-use");
}

/** @param {number} pid */
function startOf(pid) {
  const found = readProcess(pid);
  return found && `${found.started}`;
}
