import { randomBytes } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { openIfThere } from "../support/files";
import { STATUS_FD } from "./shim";

/** Whether a process can be given something to read by that number: others are its own, or its shim's. */
export function isDescriptor(number: number): boolean {
  return number >= 3 && number < STATUS_FD;
}

/** Permissions of files that only the process may read. */
const READ_ONLY_MODE = 0o400;

/** Contents of a process's further file descriptors, by their numbers. */
export interface Descriptors {
  /** Texts: each can be read to its end and, by `/dev/fd/N`, from its start again. */
  contents?: Record<number, string>;
  /** Files that are open, or on disk, by their paths. Those that are no more are left out. */
  paths?: Record<number, string>;
  /** Account that must be able to open them by `/dev/fd/N`. @default this process's own user */
  owner?: { uid: number; gid: number };
}

/**
 * Opens everything for a process that is about to be started. Texts go to files that have no name any more before they hold
 * anything: nobody finds them, whatever dies when.
 *
 * @param folder where such files lie
 * @param handles takes what is opened, which is to be closed once the process has it
 */
export async function openDescriptors(
  { contents = {}, paths = {}, owner }: Descriptors = {},
  folder: string,
  handles: FileHandle[],
): Promise<Map<number, number>> {
  const opened = new Map<number, number>();
  for (const [number, text] of Object.entries(contents)) {
    const file = await openText(text, folder, owner);
    handles.push(file);
    opened.set(Number(number), file.fd);
  }
  for (const [number, path] of Object.entries(paths)) {
    const file = await openIfThere(path);
    if (file === undefined) continue;
    handles.push(file);
    opened.set(Number(number), file.fd);
  }
  return opened;
}

async function openText(text: string, folder: string, owner: Descriptors["owner"]): Promise<FileHandle> {
  // By its name, which agents sweep away at their start, it is found for a moment, and empty.
  const path = join(folder, `.descriptor.${randomBytes(6).toString("hex")}.tmp`);
  const writing = await open(path, "wx", READ_ONLY_MODE);
  try {
    await rm(path);
    if (owner !== undefined && owner.uid !== process.getuid?.()) await writing.chown(owner.uid, owner.gid);
    await writing.writeFile(text);
    return await open(`/proc/self/fd/${writing.fd}`, "r");
  } finally {
    await writing.close();
  }
}
