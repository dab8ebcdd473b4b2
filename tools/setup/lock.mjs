// @ts-check
import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, SetupError } from "./errors.mjs";

/** A holder shows that it is alive by touching its lock this often. */
const HEARTBEAT_MS = 2_000;
/** A lock that a waiter did not see touched for so long belongs to a dead process, even if its pid is taken again. */
const STALE_AFTER_MS = 30_000;
const POLL_MS = 200;

/**
 * Does the work while no other process on this machine holds the same lock file. The lock of a process that died is
 * taken over.
 *
 * @template T
 * @param {string} file
 * @param {{deadlineMs: number, onWait: (pid: number) => void}} options onWait is called once, if somebody else holds it
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 * @throws {SetupError} when somebody else holds it until the deadline
 */
export async function withLock(file, options, work) {
  mkdirSync(path.dirname(file), { recursive: true });
  await acquire(file, options);
  const heartbeat = setInterval(() => touch(file), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if (readHolder(file) === process.pid) rmSync(file, { force: true });
  }
}

/**
 * @param {string} file
 * @param {{deadlineMs: number, onWait: (pid: number) => void}} options
 */
async function acquire(file, { deadlineMs, onWait }) {
  // Monotonic, so that a machine that slept does not take a sleeping holder for a dead one.
  const startedAt = performance.now();
  let seen = { touchedMs: touchedMs(file), at: startedAt };
  let said = false;
  while (!tryCreate(file)) {
    const holder = readHolder(file);
    const now = performance.now();
    const touched = touchedMs(file);
    if (touched !== seen.touchedMs) seen = { touchedMs: touched, at: now };
    if (holder === undefined || !isRunning(holder) || now - seen.at > STALE_AFTER_MS) {
      removeStale(file, holder);
      await sleep(Math.random() * POLL_MS);
      continue;
    }
    if (!said) onWait(holder);
    said = true;
    if (now - startedAt > deadlineMs) {
      throw new SetupError(
        `another set-up (pid ${holder}) has held ${file} for ${Math.round(deadlineMs / 1000)} s`,
        `wait for it, or end it (kill ${holder}) and run this again`,
      );
    }
    await sleep(POLL_MS);
  }
}

/** @param {string} file */
function tryCreate(file) {
  try {
    writeFileSync(file, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/**
 * @param {string} file
 * @returns {number | undefined} undefined when the lock is gone, or its holder has not written its pid (yet)
 */
function readHolder(file) {
  try {
    const pid = Number(readFileSync(file, "utf8"));
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** @param {number} pid */
function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, as another user.
    return codeOf(error) !== "ESRCH";
  }
}

/** @param {string} file */
function touch(file) {
  try {
    utimesSync(file, new Date(), new Date());
  } catch (error) {
    // Somebody removed the folder under us; the work itself notices that.
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

/** @param {string} file */
function touchedMs(file) {
  try {
    return statSync(file).mtimeMs;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Two waiters may find the same dead holder. Only the one that gets the guard removes the lock, and only if it is still
 * that holder's, so that a lock taken meanwhile stays.
 *
 * @param {string} file
 * @param {number | undefined} holder
 */
function removeStale(file, holder) {
  const guard = `${file}.guard`;
  if (isOlderThan(guard, STALE_AFTER_MS)) rmSync(guard, { force: true });
  if (!tryCreate(guard)) return;
  try {
    // Without a pid it may be a holder between creating and writing.
    const certain = holder !== undefined || isOlderThan(file, HEARTBEAT_MS);
    if (certain && readHolder(file) === holder) rmSync(file, { force: true });
  } finally {
    rmSync(guard, { force: true });
  }
}

/**
 * @param {string} file
 * @param {number} ms
 */
function isOlderThan(file, ms) {
  const touched = touchedMs(file);
  return touched !== undefined && Date.now() - touched > ms;
}
