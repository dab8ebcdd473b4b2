import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { PRIVATE_FILE_MODE } from "./files";
import { isAlive, readStat } from "./processes/identity";

const claim = z.object({ pid: z.int(), startTime: z.string(), socket: z.string() });
type Claim = z.output<typeof claim>;

/** Another agent runs in the state folder or on the socket: to start again and again would be of no use. */
export class FolderClaimed extends Error {}

/** Claims a state folder for this process; two agents must never work on one. Returns what gives it back. */
export async function claimFolder(directory: string, socket: string): Promise<() => Promise<void>> {
  const path = join(directory, "agent.pid");
  const own = `${path}.${process.pid}`;
  const startTime = readStat(process.pid)?.startTime ?? "";
  await writeFile(own, JSON.stringify({ pid: process.pid, startTime, socket }), { mode: PRIVATE_FILE_MODE });
  try {
    // A link comes about once only, so that of two agents that start at the same moment one is refused.
    while (!(await linked(own, path))) await removeStale(path, directory);
  } finally {
    await rm(own, { force: true });
  }
  return () => rm(path, { force: true });
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Takes an ended agent's claim away. Throws where the claim is in force. */
async function removeStale(path: string, directory: string): Promise<void> {
  assertStale(await readClaim(path), directory);
  const aside = `${path}.${process.pid}.stale`;
  try {
    await rename(path, aside);
  } catch (error) {
    // Somebody else has taken it away.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  try {
    assertStale(await readClaim(aside), directory);
  } catch (error) {
    // Between the two looks another agent has claimed the folder.
    await linked(aside, path);
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

function assertStale(holder: Claim | undefined, directory: string): void {
  if (holder !== undefined && isAlive(holder))
    throw new FolderClaimed(
      `${directory} belongs to the running agent with process id ${holder.pid} on ${holder.socket}: stop it first`,
    );
}

/** Throws where another agent runs in a state folder. */
export async function assertUnclaimed(directory: string): Promise<void> {
  assertStale(await readClaim(join(directory, "agent.pid")), directory);
}

/** The process that has claimed a state folder; nothing where none has. */
export async function holderOf(directory: string): Promise<number | undefined> {
  return (await readClaim(join(directory, "agent.pid")))?.pid;
}

async function readClaim(path: string): Promise<Claim | undefined> {
  try {
    return claim.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    // A claim that is missing or cut short was never in force: it is written atomically.
    if (
      (error as NodeJS.ErrnoException).code === "ENOENT" ||
      error instanceof SyntaxError ||
      error instanceof z.ZodError
    )
      return undefined;
    throw error;
  }
}
