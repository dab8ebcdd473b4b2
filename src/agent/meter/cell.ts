import { BUCKETS, bucketOf, type Sparse } from "../../model/gate/histogram";
import type { Counts } from "../../model/gate/sli";
import type { Line } from "./line";

const COUNTS = [
  "requests",
  "aborted",
  "status4xx",
  "status5xx",
  "connect",
  "cut",
  "bytes",
] as const satisfies (keyof Counts)[];
const [REQUESTS, ABORTED, STATUS_4XX, STATUS_5XX, CONNECT, CUT, BYTES] = [0, 1, 2, 3, 4, 5, 6] as const;

const [CLIENT_ABORT, CLIENT_TIMEOUT, SERVER_ABORT, SERVER_TIMEOUT] = ["C", "c", "S", "s"].map((c) => c.charCodeAt(0));
const [QUEUED, CONNECTING, HEAD, DATA, TUNNEL] = ["Q", "C", "H", "D", "T"].map((c) => c.charCodeAt(0));
const SWITCHING_PROTOCOLS = 101;

/** Counts of one series over one span of time. */
export class Cell {
  readonly counts = new Float64Array(COUNTS.length);
  readonly head = new Float64Array(BUCKETS);
  readonly total = new Float64Array(BUCKETS);
  /** Times that clients had waited for a head when they gave up; only where some did. */
  waited: Float64Array | undefined;

  /**
   * Counts a request. A client that went away says nothing about whether it would have got a good answer, unless that was an
   * error; but how long it took or waited for the head is known.
   */
  record(line: Line): void {
    const { counts } = this;
    const { status, who, when } = line;
    if (line.bytes > 0) counts[BYTES] = (counts[BYTES] as number) + line.bytes;
    if ((who === CLIENT_ABORT || who === CLIENT_TIMEOUT) && status < 500 && status !== SWITCHING_PROTOCOLS) {
      counts[ABORTED] = (counts[ABORTED] as number) + 1;
      if (line.headMs >= 0) add(this.head, headOf(line));
      else if (when === QUEUED || when === CONNECTING || when === HEAD) add(this.waitedTimes(), line.totalMs);
      return;
    }
    counts[REQUESTS] = (counts[REQUESTS] as number) + 1;
    if (status >= 500) {
      counts[STATUS_5XX] = (counts[STATUS_5XX] as number) + 1;
      if (when === CONNECTING && (who === SERVER_ABORT || who === SERVER_TIMEOUT))
        counts[CONNECT] = (counts[CONNECT] as number) + 1;
    } else if (status >= 400) counts[STATUS_4XX] = (counts[STATUS_4XX] as number) + 1;
    const tunnel = status === SWITCHING_PROTOCOLS || when === TUNNEL;
    if (!tunnel && status < 500 && when === DATA && (who === SERVER_ABORT || who === SERVER_TIMEOUT))
      counts[CUT] = (counts[CUT] as number) + 1;
    add(this.head, headOf(line));
    if (!tunnel) add(this.total, line.totalMs);
  }

  waitedTimes(): Float64Array {
    this.waited ??= new Float64Array(BUCKETS);
    return this.waited;
  }

  clear(): void {
    this.counts.fill(0);
    this.head.fill(0);
    this.total.fill(0);
    this.waited?.fill(0);
  }

  toCounts(): Counts {
    return Object.fromEntries(COUNTS.map((key, index) => [key, this.counts[index] ?? 0])) as unknown as Counts;
  }
}

function add(histogram: Float64Array, ms: number): void {
  const bucket = bucketOf(positive(ms));
  histogram[bucket] = (histogram[bucket] as number) + 1;
}

/** A request that got no head from a server took until HAProxy answered it. */
function headOf({ headMs, connectMs, queueMs, totalMs }: Line): number {
  return headMs < 0 ? totalMs : headMs + positive(connectMs) + positive(queueMs);
}

function positive(ms: number): number {
  return ms > 0 ? ms : 0;
}

/** The buckets of a histogram that hold something. */
export function sparse(histogram: Float64Array | undefined): Sparse {
  if (histogram === undefined) return [];
  const pairs: [number, number][] = [];
  for (let bucket = 0; bucket < histogram.length; bucket++) {
    const count = histogram[bucket] as number;
    if (count > 0) pairs.push([bucket, count]);
  }
  return pairs;
}

const VARINT = 0x80;
/** Bytes that one number takes at most. */
const MAX_VARINT = 8;
/** Bytes that a cell takes at most. */
export const MAX_CELL = (COUNTS.length + 3 + 6 * BUCKETS) * MAX_VARINT;

/** Writes a cell at an offset, in few bytes; returns the offset behind it. The buffer has {@link MAX_CELL} bytes of room. */
export function encodeCell(cell: Cell, into: Uint8Array, offset: number): number {
  let at = offset;
  const write = (number: number) => {
    let rest = number;
    while (rest >= VARINT) {
      into[at++] = (rest % VARINT) | VARINT;
      rest = Math.floor(rest / VARINT);
    }
    into[at++] = rest;
  };
  for (const count of cell.counts) write(count);
  for (const histogram of [cell.head, cell.total, ...(cell.waited === undefined ? [] : [cell.waited])]) {
    let last = -1;
    for (let bucket = 0; bucket < histogram.length; bucket++) {
      const count = histogram[bucket] as number;
      if (count === 0) continue;
      write(bucket - last);
      write(count);
      last = bucket;
    }
    write(0);
  }
  return at;
}

/** Adds an encoded cell to another one. Throws where the bytes are none. */
export function addEncoded(bytes: Uint8Array, start: number, end: number, to: Cell): void {
  let at = start;
  const read = (): number => {
    let value = 0;
    let scale = 1;
    for (; at < end; scale *= VARINT) {
      const byte = bytes[at++] as number;
      value += (byte % VARINT) * scale;
      if (byte < VARINT) return value;
    }
    throw new Error("a record of the meter is cut short");
  };
  for (let index = 0; index < to.counts.length; index++) to.counts[index] = (to.counts[index] as number) + read();
  const readInto = (histogram: Float64Array) => {
    let bucket = -1;
    for (let step = read(); step !== 0; step = read()) {
      bucket += step;
      if (bucket >= BUCKETS) throw new Error("a record of the meter names a bucket that does not exist");
      histogram[bucket] = (histogram[bucket] as number) + read();
    }
  };
  readInto(to.head);
  readInto(to.total);
  if (at < end) readInto(to.waitedTimes());
}
