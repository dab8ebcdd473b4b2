import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { codeOf } from "../../model/types/errors";
import { isAlive, readStat } from "../processes/identity";
import { PRIVATE_FILE_MODE, whileUnchanged } from "../support/files";

const lockRecord = z.object({ pid: z.int(), startTime: z.string(), socket: z.string() });
type LockRecord = z.output<typeof lockRecord>;

/** Pause between two looks at who has locked the folder, in milliseconds. */
const CHECK_MS = 1000;

/** Another agent runs in the state folder or on the socket: to start again and again would be of no use. */
export class FolderLocked extends Error {}

export function lockPath(directory: string): string {
  return join(directory, "agent.pid");
}

/** Locks a state folder for this process; two agents must never work on one. Returns the function that unlocks it. */
export async function lockFolder(directory: string, socket: string): Promise<() => Promise<void>> {
  const path = lockPath(directory);
  const own = `${path}.${process.pid}`;
  const startTime = readStat(process.pid)?.startTime ?? "";
  await writeFile(own, JSON.stringify({ pid: process.pid, startTime, socket }), { mode: PRIVATE_FILE_MODE });
  try {
    // A link comes about once only, so that of two agents that start at the same moment one is refused.
    while (!(await tryLink(own, path))) await removeStale(path, directory);
  } finally {
    await rm(own, { force: true });
  }
  return () => rm(path, { force: true });
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Removes an ended agent's lock. Throws if the lock is in force. */
async function removeStale(path: string, directory: string): Promise<void> {
  assertStale(await readLock(path), directory);
  const aside = `${path}.${process.pid}.stale`;
  try {
    await rename(path, aside);
  } catch (error) {
    // Somebody else has taken it away.
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  try {
    assertStale(await readLock(aside), directory);
  } catch (error) {
    // Another agent has locked the folder in between.
    await tryLink(aside, path);
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

function assertStale(holder: LockRecord | undefined, directory: string): void {
  if (holder !== undefined && isAlive(holder))
    throw new FolderLocked(
      `${directory} belongs to the running agent with process id ${holder.pid} on ${holder.socket}: stop it first`,
    );
}

/** Throws where another agent runs in a state folder. */
export async function assertUnlocked(directory: string): Promise<void> {
  assertStale(await readLock(lockPath(directory)), directory);
}

/** Throws where the folder at a path does not have the lock of this process: its own was moved or deleted, or the lock was. */
export async function assertLockedHere(directory: string): Promise<void> {
  if ((await holderOf(directory)) !== process.pid)
    throw new Error(
      `${lockPath(directory)} is not this agent's any more: put its own state folder back, or restart the agent`,
    );
}

/** The process that has locked a state folder; undefined if none has. */
export async function holderOf(directory: string): Promise<number | undefined> {
  return (await readLock(lockPath(directory)))?.pid;
}

/**
 * Resolves with words about another running agent that has locked the folder at this agent's path, which means that another
 * folder lies there now. Never resolves while the folder is its own, gone, or can't be looked at.
 */
export async function untilForeign(directory: string, signal: AbortSignal): Promise<string> {
  const path = lockPath(directory);
  const read = whileUnchanged(path, () => readLock(path));
  for (;;) {
    await sleep(CHECK_MS, undefined, { signal, ref: false });
    const holder = await read().catch(() => undefined);
    if (holder !== undefined && holder.pid !== process.pid && isAlive(holder))
      return `another folder lies at ${directory}, which belongs to the running agent with process id ${holder.pid} on ${holder.socket}`;
  }
}

async function readLock(path: string): Promise<LockRecord | undefined> {
  try {
    return lockRecord.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    // A lock that is missing or cut short was never in force: it is written atomically.
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}
