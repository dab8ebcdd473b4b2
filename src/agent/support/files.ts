import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { codeOf } from "../../model/types/errors";

/** Permissions of files that only the agent's own user may read. */
export const PRIVATE_FILE_MODE = 0o600;
/** Permissions of folders that only the agent's own user may enter. */
export const PRIVATE_FOLDER_MODE = 0o700;

/**
 * Makes a folder of the state folder where it is missing; never the state folder itself, of which a part would come back where it
 * was deleted.
 *
 * @param above how many of the folders above it are made, too. @default 0
 * @throws the file system's own error, or that the one above these is gone
 */
export async function makeFolder(path: string, { above = 0 } = {}): Promise<void> {
  if (above > 0) await makeFolder(dirname(path), { above: above - 1 });
  await mkdir(path, { mode: PRIVATE_FOLDER_MODE }).catch((error: Error) => {
    if (codeOf(error) === "ENOENT")
      throw new Error(`the folder ${dirname(path)} is gone: put it back`, { cause: error });
    if (codeOf(error) !== "EEXIST") throw error;
  });
}

/**
 * Replaces the file at `path` as a whole, durably: after a crash or a power cut there is either the old content or the
 * new one. The temporary file lies in the same folder (rename works within one file system only) and is removed when
 * writing fails, so that a full disk is not filled further.
 *
 * @param mode permissions of the file, whatever the umask says
 * @throws the file system's own error (ENOSPC, EACCES, ...); the old content is then untouched
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  mode = PRIVATE_FILE_MODE,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.chmod(mode);
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes the folder's entries (files created, renamed or removed in it) durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Status of a path; undefined if nothing is there. @throws every other error of the file system */
export async function ifThere<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Opens a file to read it; undefined if there is none. */
export function openIfThere(path: string): Promise<FileHandle | undefined> {
  return ifThere(open(path, "r"));
}

/** A file's text; undefined if there is none. @throws the file system's own error, or that a folder lies in its place */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await ifThere(readFile(path, "utf8"));
  } catch (error) {
    if (codeOf(error) !== "EISDIR") throw error;
    throw new Error(`${path} is a folder, and must be a file: remove it`, { cause: error });
  }
}

/** A file's size in bytes; 0 if there is none. */
export async function sizeOf(path: string): Promise<number> {
  return (await ifThere(stat(path)))?.size ?? 0;
}

/** Looks into a file again only where its inode, size or times say that it has changed since the last look. */
export function whileUnchanged<T>(path: string, look: () => Promise<T>): () => Promise<T> {
  let last: { stamp: string | undefined; found: T } | undefined;
  return async () => {
    // Before the look, so that a change during it is seen by the next one.
    const stamp = await stampOf(path);
    if (last === undefined || last.stamp !== stamp) last = { stamp, found: await look() };
    return last.found;
  };
}

async function stampOf(path: string): Promise<string | undefined> {
  const found = await ifThere(stat(path, { bigint: true }));
  return found && [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join(" ");
}

/** Names that {@link writeFileAtomic} gives to temporary files. */
const TEMPORARY = /^\..+\.[0-9a-f]{12}\.tmp$/;

/** Removes what writers that were killed have left half written in a folder; `mine` leaves out files that others may be writing now. */
export async function removeTemporaries(
  directory: string,
  mine: (name: string) => boolean = () => true,
): Promise<void> {
  for (const name of await readdir(directory))
    if (TEMPORARY.test(name) && mine(name)) await rm(join(directory, name), { force: true });
}
