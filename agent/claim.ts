import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "./files";
import { isAlive, readStat } from "./processes/identity";

const claim = z.object({ pid: z.int(), startTime: z.string(), socket: z.string() });

/** Another agent runs in the state folder. */
export class FolderClaimed extends Error {}

/** Claims a state folder for this process; two agents must never work on one. Returns what gives it back. */
export async function claimFolder(directory: string, socket: string): Promise<() => Promise<void>> {
  const path = join(directory, "agent.pid");
  const holder = await readClaim(path);
  if (holder !== undefined && holder.pid !== process.pid && isAlive(holder))
    throw new FolderClaimed(
      `${directory} belongs to the running agent with process id ${holder.pid} on ${holder.socket}: stop it first`,
    );
  const startTime = readStat(process.pid)?.startTime ?? "";
  await writeFileAtomic(path, JSON.stringify({ pid: process.pid, startTime, socket }), 0o600);
  return () => rm(path, { force: true });
}

async function readClaim(path: string) {
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
