import { Buffer, isUtf8 } from "node:buffer";

/** Longest line that is read, in bytes. */
export const MAX_LINE = 1024 * 1024;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = "\uFEFF";

/** One line of a file, numbered from 1. */
export type Line = { line: number; text: string } | { line: number; problem: string };

/**
 * The lines of a stream of bytes, in the memory of one line. A line that is longer than {@link MAX_LINE} or not UTF-8 is
 * a problem of its own and not an end; CRLF and a last line without an end are lines, too.
 */
export async function* readLines(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Line> {
  let line = 0;
  let parts: Uint8Array[] = [];
  let length = 0;
  const take = (part: Uint8Array): void => {
    length += part.length;
    // Beyond the bound only the length still counts.
    if (length <= MAX_LINE && part.length > 0) parts.push(part);
  };
  const finish = (): Line => {
    line++;
    const whole = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
    const tooLong = length > MAX_LINE;
    parts = [];
    length = 0;
    return tooLong ? { line, problem: `is longer than ${MAX_LINE} bytes: shorten it` } : decoded(line, whole);
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let to = chunk.indexOf(NEWLINE); to !== -1; to = chunk.indexOf(NEWLINE, from)) {
      take(chunk.subarray(from, to));
      from = to + 1;
      yield finish();
    }
    take(chunk.subarray(from));
  }
  if (length > 0) yield finish();
}

function decoded(line: number, bytes: Uint8Array): Line {
  if (!isUtf8(bytes)) return { line, problem: "is not UTF-8" };
  const end = bytes.at(-1) === CARRIAGE_RETURN ? bytes.length - 1 : bytes.length;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, end).toString("utf8");
  return { line, text: line === 1 && text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text };
}
