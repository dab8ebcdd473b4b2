import type { Line } from "./lines";

export interface SelectOptions {
  /** Most requests that are taken. */
  limit?: number | undefined;
  /** Share of the lines that is taken, above 0 to 1: the same lines of the same file every time. */
  sample?: number | undefined;
}

/** Takes some of a file's lines, and counts what it leaves out: nothing is skipped in silence. */
export class Selection {
  /** Lines read so far. */
  lines = 0;
  blank = 0;
  notSampled = 0;
  taken = 0;
  /** The file may have more lines than the limit let through. */
  limited = false;

  constructor(private readonly options: SelectOptions) {}

  async *of(lines: AsyncIterable<Line>): AsyncGenerator<Line> {
    const { limit = Number.POSITIVE_INFINITY, sample = 1 } = this.options;
    for await (const line of lines) {
      this.lines++;
      if ("text" in line && line.text.trim() === "") this.blank++;
      else if (sample < 1 && chance(line.line) >= sample) this.notSampled++;
      else {
        this.taken++;
        yield line;
        if (this.taken >= limit) {
          this.limited = true;
          return;
        }
      }
    }
  }
}

/** A number from 0 to below 1 that looks random and depends on the line's number only (the finalizer of MurmurHash3). */
function chance(line: number): number {
  let hash = line | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
