import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, truncate } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { codeOf } from "../../../model/types/errors";
import { PRIVATE_FILE_MODE, sizeOf } from "../../support/files";

/** How much of a process's output is kept. */
export interface OutputLimits {
  /** Size at which its file is rotated, in bytes. */
  maxBytes: number;
  /** Older files that are kept. */
  keep: number;
}

/**
 * Rotates an output file that has grown too large: its end becomes `path.1`, older ones move on, and the file itself,
 * which the process goes on writing to (at its end, wherever that is), begins anew. What a process writes in the moment
 * between the two is lost, and what a flood has written beyond the size is not kept.
 *
 * @returns the byte from which on it was kept; undefined if it is not too large
 */
export async function rotate(path: string, { maxBytes, keep }: OutputLimits): Promise<number | undefined> {
  const size = await sizeOf(path);
  if (size < maxBytes) return undefined;
  const start = Math.max(0, size - maxBytes);
  if (keep > 0) {
    const end = `${path}.new`;
    await pipeline(
      createReadStream(path, { start, end: size - 1 }),
      createWriteStream(end, { mode: PRIVATE_FILE_MODE }),
    );
    await moveOn(path, keep);
    await rename(end, `${path}.1`);
  }
  await truncate(path, 0);
  return start;
}

/** Puts a file whose process has ended among the older ones. */
export async function putAside(path: string, keep: number): Promise<void> {
  if ((await sizeOf(path)) === 0 || keep === 0) return rm(path, { force: true });
  await moveOn(path, keep);
  await rename(path, `${path}.1`);
}

async function moveOn(path: string, keep: number): Promise<void> {
  await rm(`${path}.${keep}`, { force: true });
  for (let number = keep - 1; number >= 1; number -= 1) {
    try {
      await rename(`${path}.${number}`, `${path}.${number + 1}`);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }
}
