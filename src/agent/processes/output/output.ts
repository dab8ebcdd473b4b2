import { open } from "node:fs/promises";
import { codeOf } from "../../../model/types/errors";

/** How much of the end of the file is read at most, in bytes. */
const WINDOW_BYTES = 256 * 1024;
/** Length at which a line is cut, in characters. */
const LINE_CHARACTERS = 2000;
const CUT = "…";

/**
 * The last lines of an output file, oldest first; none when there is no file. At most the last 256 KiB are looked at, and
 * lines are cut after 2000 characters (marked by `…`), so the cost does not depend on what the app writes. A character
 * that is only half written yet, or half outside what is read, is left out; invalid UTF-8 reads as U+FFFD.
 */
export async function tailOf(path: string, lines: number): Promise<string[]> {
  const { bytes, cutAtStart } = await readEnd(path);
  const text = wholeCharacters(bytes, cutAtStart).toString("utf8");
  const all = text.split("\n");
  if (all.at(-1) === "") all.pop();
  if (cutAtStart && all.length > 1) all.shift();
  else if (cutAtStart && all.length === 1) all[0] = CUT + (all[0] ?? "");
  return all.slice(Math.max(all.length - lines, 0)).map(cutLine);
}

async function readEnd(path: string): Promise<{ bytes: Buffer; cutAtStart: boolean }> {
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const start = Math.max(size - WINDOW_BYTES, 0);
      const bytes = Buffer.alloc(size - start);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
      return { bytes: bytes.subarray(0, bytesRead), cutAtStart: start > 0 };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { bytes: Buffer.alloc(0), cutAtStart: false };
    throw error;
  }
}

/** Without the rest of a character at a start in the middle of the file, and without the unfinished one at the end. */
function wholeCharacters(bytes: Buffer, cutAtStart: boolean): Buffer {
  let start = 0;
  while (cutAtStart && start < Math.min(3, bytes.length) && isContinuation(bytes[start])) start += 1;
  let last = bytes.length - 1;
  while (last >= Math.max(start, bytes.length - 4) && isContinuation(bytes[last])) last -= 1;
  const unfinished = last >= start && last + characterBytes(bytes[last]) > bytes.length;
  return bytes.subarray(start, unfinished ? last : bytes.length);
}

function isContinuation(byte = 0): boolean {
  return (byte & 0xc0) === 0x80;
}

function characterBytes(lead = 0): number {
  if (lead >= 0xf0) return 4;
  if (lead >= 0xe0) return 3;
  return lead >= 0xc0 ? 2 : 1;
}

function cutLine(line: string): string {
  const text = line.endsWith("\r") ? line.slice(0, -1) : line;
  if (text.length <= LINE_CHARACTERS) return text;
  const end = /[\uD800-\uDBFF]/.test(text[LINE_CHARACTERS - 1] ?? "") ? LINE_CHARACTERS - 1 : LINE_CHARACTERS;
  return text.slice(0, end) + CUT;
}
