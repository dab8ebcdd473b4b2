import { mkdir, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isLive } from "../api/socket";
import { assertUnlocked, FolderLocked, lockFolder } from "../state/folder-lock";
import { assertSocketFolder } from "../state/private-folder";
import { removeTemporaries } from "../support/files";
import { inParallel } from "../support/in-parallel";

/** How many folders are swept at once. */
const SWEEP_AT_ONCE = 16;

/** Throws where another agent has the state folder or the socket. */
export async function assertUnused(directory: string, socket: string): Promise<void> {
  await assertUnlocked(directory);
  await assertSocketFolder(dirname(socket));
  if (await isLive(socket))
    throw new FolderLocked(`${socket} belongs to a running agent: stop that one, or use another socket`);
}

/** Locks the state folder, and makes it ready for use. Returns the release of the lock. */
export async function takeFolder(directory: string, socket: string): Promise<() => Promise<void>> {
  const release = await lockFolder(directory, socket);
  for (const folder of ["edges", "processes", "secrets", "takeovers"])
    await mkdir(join(directory, folder), { recursive: true, mode: 0o700 });
  await sweep(directory);
  return release;
}

/** Removes what an agent that was killed has left half written; in the folder itself others write, too. */
async function sweep(directory: string): Promise<void> {
  await removeTemporaries(directory, (name) => !name.startsWith(".agent.json."));
  await removeTemporaries(join(directory, "secrets"));
  await removeTemporaries(join(directory, "takeovers"));
  for (const folder of ["edges", "processes"]) {
    const entries = await readdir(join(directory, folder), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, folder, name));
    await inParallel(folders, SWEEP_AT_ONCE, (each) => removeTemporaries(each));
  }
}
