import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { openIfThere } from "../../support/files";
import type { Rotations } from "./rotations";

const CHUNK_BYTES = 64 * 1024;
/** Pause between two reads, in milliseconds. */
const FOLLOW_MS = 200;
/** Length at which a line is cut, in bytes, so that one without an end takes no more memory than that. */
const LINE_BYTES = 16 * 1024;
const NEWLINE = 0x0a;
const CUT = "…";

/** A byte of an output: of what its file held, or holds, in a turn (see {@link Rotations}). */
export interface OutputPosition {
  turn: number;
  byte: number;
}

/** A line, and where its last byte stands. */
export interface FoundLine {
  line: string;
  end: OutputPosition;
}

/**
 * Lines of an output from a place on: of its older files that are still there, then of the file itself. To follow goes on until the
 * signal aborts: also where the file is rotated, begun afresh, cut short, replaced, or not there for a while. Above 60 lines, as one
 * loop over one place in the files.
 */
export async function* linesOf(
  path: string,
  from: OutputPosition,
  { follow, signal, rotations }: { follow: boolean; signal: AbortSignal; rotations: Rotations },
): AsyncGenerator<FoundLine> {
  let file: FileHandle | undefined;
  let { turn, byte } = from;
  /** First byte of the open file, where that is an older one, of which the beginning was not kept. */
  let start = 0;
  let isNow = false;
  let rest: Buffer = Buffer.alloc(0);
  const buffer = Buffer.alloc(CHUNK_BYTES);
  const leave = async () => {
    await file?.close();
    file = undefined;
  };
  try {
    while (!signal.aborted) {
      if (file === undefined) {
        const now = await rotations.turn(path);
        // All of it was forgotten, and begins anew.
        if (now < turn) [turn, byte] = [now, 0];
        const age = now - turn;
        isNow = age === 0;
        start = isNow ? 0 : rotations.startOf(path, turn);
        byte = Math.max(byte, start);
        file = await openIfThere(fileOf(path, age));
        // It may have moved on between the look and the opening.
        if ((await rotations.turn(path)) - turn !== age) {
          await leave();
          continue;
        }
      }
      const bytesRead = (await file?.read(buffer, 0, CHUNK_BYTES, byte - start))?.bytesRead ?? 0;
      if (isNow && !rotations.isNow(path, turn)) {
        // The read may have hit the file after its rotation: read the rest at its present path.
        await leave();
        continue;
      }
      if (bytesRead > 0) {
        const text = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const at = { turn, byte: byte - rest.length };
        byte += bytesRead;
        rest = yield* linesIn(text, at);
        continue;
      }
      if (!isNow) {
        // A line that was cut by the rotation goes on in the next file.
        await leave();
        turn += 1;
        byte = 0;
        continue;
      }
      if (!follow) break;
      if (file !== undefined && (await isAnother(file, path, byte))) {
        await leave();
        byte = 0;
        rest = Buffer.alloc(0);
        continue;
      }
      await sleep(FOLLOW_MS, undefined, { signal }).catch(() => undefined);
    }
    if (rest.length > 0 && !signal.aborted) yield { line: decoded(rest), end: { turn, byte: byte - 1 } };
  } finally {
    await leave();
  }
}

/** Lines of a text that begins at a place; returns the part that has no end yet, unless it is too long to wait for one. */
function* linesIn(text: Buffer, { turn, byte }: OutputPosition): Generator<FoundLine, Buffer> {
  let done = 0;
  for (let end = text.indexOf(NEWLINE); end >= 0; end = text.indexOf(NEWLINE, done)) {
    yield { line: decoded(text.subarray(done, end)), end: { turn, byte: byte + end } };
    done = end + 1;
  }
  const rest = Buffer.from(text.subarray(done));
  if (rest.length <= LINE_BYTES) return rest;
  yield { line: decoded(rest), end: { turn, byte: byte + text.length - 1 } };
  return Buffer.alloc(0);
}

/** Path of an output's file that is so many rotations old. */
export function fileOf(path: string, age: number): string {
  return age === 0 ? path : `${path}.${age}`;
}

/** Position of the last lines of an output, older files included. */
export async function startOfLast(path: string, lines: number, rotations: Rotations): Promise<OutputPosition> {
  for (;;) {
    const now = await rotations.turn(path);
    let place: OutputPosition = { turn: now, byte: 0 };
    let left = lines;
    for (let age = 0; ; age += 1) {
      const found = await lastOf(fileOf(path, age), left, { isCut: age > 0 });
      if (found === undefined) break;
      const turn = now - age;
      place = { turn, byte: found.byte + (age === 0 ? 0 : rotations.startOf(path, turn)) };
      left = found.left;
      // Otherwise the first line may have begun in the file before.
      if (found.byte > 0) break;
    }
    if (rotations.isNow(path, now)) return place;
  }
}

/**
 * Position of the last lines of a file, and the number of lines that it lacks. Nothing where there is no file.
 *
 * @param o.isCut whether what stands behind its last newline is the beginning of a line of the next file, and none of its own
 */
async function lastOf(
  path: string,
  lines: number,
  { isCut }: { isCut: boolean },
): Promise<{ byte: number; left: number } | undefined> {
  const file = await openIfThere(path);
  if (file === undefined) return undefined;
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(CHUNK_BYTES);
    // The end of the last line is none between two.
    let left = lines + 1;
    for (let end = size; end > 0; ) {
      const start = Math.max(0, end - CHUNK_BYTES);
      const { bytesRead } = await file.read(buffer, 0, end - start, start);
      for (let index = bytesRead - 1; index >= 0; index--) {
        if (buffer[index] !== NEWLINE && (isCut || start + index !== size - 1)) continue;
        left -= 1;
        if (left === 0) return { byte: start + index + 1, left: 0 };
      }
      end = start;
    }
    return { byte: 0, left: size === 0 ? lines : left - 1 };
  } finally {
    await file.close();
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
