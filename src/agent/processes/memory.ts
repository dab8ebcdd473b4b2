import { readFile } from "node:fs/promises";
import { inParallel } from "../support/in-parallel";
import { allStats } from "./identity";
import { isUnreadable } from "./proc-errors";

/** Of the kernel's tables, in bytes; the same on every platform that the agent runs on. */
const PAGE_BYTES = 4096;
/** Number of processes measured at once: the kernel walks all pages of each. */
const READ_AT_ONCE = 8;

/**
 * Memory of process groups in bytes: of each process its proportional share (PSS), so that pages that processes share are
 * counted once; where the kernel does not tell it (no smaps_rollup, or not to this user), what it has in memory by itself.
 *
 * @param groups numbers of process groups; those that are gone are not in the answer
 */
export async function memoryOf(groups: readonly number[]): Promise<Map<number, number>> {
  const wanted = new Set(groups);
  const members = (await allStats()).filter(({ group }) => wanted.has(group));
  const sums = new Map<number, number>();
  await inParallel(members, READ_AT_ONCE, async ({ pid, group }) => {
    const bytes = await bytesOf(pid);
    sums.set(group, (sums.get(group) ?? 0) + bytes);
  });
  return sums;
}

async function bytesOf(pid: number): Promise<number> {
  return (await proportional(pid)) ?? (await unshared(pid)) ?? 0;
}

async function proportional(pid: number): Promise<number | undefined> {
  const kilobytes = /^Pss:\s+(\d+) kB$/m.exec((await read(`/proc/${pid}/smaps_rollup`)) ?? "")?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** Resident less shared pages. */
async function unshared(pid: number): Promise<number | undefined> {
  const [, resident, shared] = ((await read(`/proc/${pid}/statm`)) ?? "").split(" ").map(Number);
  return resident === undefined || shared === undefined ? undefined : (resident - shared) * PAGE_BYTES;
}

/** Undefined for a process that is gone, and for what the kernel does not have or show. */
async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "latin1");
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}
