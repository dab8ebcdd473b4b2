import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf } from "./identity";

const CHUNK_BYTES = 64 * 1024;
/** Between two looks for more, in milliseconds. */
const FOLLOW_MS = 200;
/** Where a line is cut, in bytes, so that one without an end takes no more memory than that. */
const LINE_BYTES = 16 * 1024;
const NEWLINE = 0x0a;
const CUT = "…";

/** A line, and where its last byte stands in the file. */
export interface FoundLine {
  line: string;
  end: number;
}

/**
 * Lines of an output file from a byte on. To follow goes on until the signal aborts: also where the file is begun afresh,
 * cut short, replaced, or not there for a while.
 */
export async function* linesOf(
  path: string,
  from: number,
  { follow, signal }: { follow: boolean; signal: AbortSignal },
): AsyncGenerator<FoundLine> {
  let file: FileHandle | undefined;
  let at = from;
  let rest = Buffer.alloc(0);
  const buffer = Buffer.alloc(CHUNK_BYTES);
  try {
    while (!signal.aborted) {
      file ??= await openIfThere(path);
      const bytesRead = file === undefined ? 0 : (await file.read(buffer, 0, CHUNK_BYTES, at)).bytesRead;
      if (bytesRead > 0) {
        let start = 0;
        const text = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        for (let end = text.indexOf(NEWLINE); end >= 0; end = text.indexOf(NEWLINE, start)) {
          yield { line: decoded(text.subarray(start, end)), end: at - rest.length + end };
          start = end + 1;
        }
        at += bytesRead;
        rest = Buffer.from(text.subarray(start));
        if (rest.length > LINE_BYTES) {
          yield { line: decoded(rest), end: at - 1 };
          rest = Buffer.alloc(0);
        }
        continue;
      }
      if (!follow) break;
      if (file !== undefined && (await isAnother(file, path, at))) {
        await file.close();
        file = undefined;
        at = 0;
        rest = Buffer.alloc(0);
        continue;
      }
      await sleep(FOLLOW_MS, undefined, { signal }).catch(() => undefined);
    }
    if (rest.length > 0 && !signal.aborted) yield { line: decoded(rest), end: at - 1 };
  } finally {
    await file?.close();
  }
}

/** Where the last lines of a file begin. */
export async function startOfLast(path: string, lines: number): Promise<number> {
  const file = await openIfThere(path);
  if (file === undefined) return 0;
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(CHUNK_BYTES);
    // The end of the last line is none between two.
    let left = lines + 1;
    for (let end = size; end > 0; ) {
      const start = Math.max(0, end - CHUNK_BYTES);
      const { bytesRead } = await file.read(buffer, 0, end - start, start);
      for (let index = bytesRead - 1; index >= 0; index--) {
        if (buffer[index] !== NEWLINE && start + index !== size - 1) continue;
        left -= 1;
        if (left === 0) return start + index + 1;
      }
      end = start;
    }
    return 0;
  } finally {
    await file.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether what is open is not, or no longer as long as, what has the path now. */
async function isAnother(file: FileHandle, path: string, at: number): Promise<boolean> {
  const now = await openIfThere(path);
  if (now === undefined) return true;
  try {
    const [mine, there] = [await file.stat(), await now.stat()];
    return mine.ino !== there.ino || there.size < at;
  } finally {
    await now.close();
  }
}

/** Invalid UTF-8 reads as U+FFFD. */
function decoded(bytes: Buffer): string {
  const end = bytes.at(-1) === 0x0d ? bytes.length - 1 : bytes.length;
  if (end <= LINE_BYTES) return bytes.toString("utf8", 0, end);
  return bytes.toString("utf8", 0, LINE_BYTES) + CUT;
}
