import { createConnection, type Socket } from "node:net";
import { ask } from "../haproxy/runtime/runtime-api";
import { singleFlight } from "../support/single-flight";
import { droppedOf, emptyLine, type Line, MAX_LINE, METER_RING, parseLine } from "./line";

const LINE_FEED = 0x0a;
/** Longest broken line until its connection is given up, in bytes. */
const MAX_REST = 4 * MAX_LINE;
/** How often it is looked whether another worker has taken over, in milliseconds. */
const POLL_MS = 1000;
/** Bytes that are read at once at most. */
const READ_BYTES = 65_536;
/**
 * Pause once all that was there is read, in milliseconds; HAProxy's ring holds what comes meanwhile. A reader that waits for
 * the next line is woken for each one, under a lock that it then spins for, which took HAProxy up to a third of its CPU time.
 * One whose socket is full, as it is after some 280 lines, is left alone.
 */
const PAUSE_MS = 500;
/** Age of the last line that was read from which on there may be more, in milliseconds: HAProxy gives 16 KiB at a time. */
const CAUGHT_UP_MS = 50;
/** Time that a replaced worker has for its last lines, in milliseconds: it can't end while somebody reads from it. */
const LAST_LINES_MS = 1000 + PAUSE_MS;
/** First who the worker is, then all that its ring holds, and what comes. */
const COMMAND = `show info; show events ${METER_RING} -w\n`;
const PID = /^Pid: (\d+)$/m;

export interface TailOptions {
  /** Path of the runtime API of the edge's HAProxy. */
  socket: string;
  now: () => number;
  /** Called before each batch of lines. */
  batch: () => void;
  line: (line: Line) => void;
  /** Lines that HAProxy could not keep for the reader. */
  lost: (lines: number) => void;
}

interface Reader {
  socket: Socket;
  /** Of the worker; nothing before it has said so. */
  pid: number | undefined;
  /** Lines up to this time are known, or not of interest. */
  after: number;
  /** Whether its last line was such a one. */
  skipping: boolean;
}

/**
 * Reads an edge's lines from HAProxy's memory through its runtime API. HAProxy connects to nobody: where nobody reads, it
 * overwrites the oldest lines, and takes no time for that.
 */
export class Tail {
  private readonly readers = new Set<Reader>();
  /** Time of the newest line that was read, by worker: one that is read again tells all once more. */
  private readonly read = new Map<number, number>();
  private since: number;
  private readonly line = emptyLine();
  private readonly timer: NodeJS.Timeout;
  /** Looks who serves now, and reads from it too: by itself each second, and at once where somebody knows of a reload. */
  readonly poll: () => Promise<void>;
  private closed = false;
  lines = 0;
  /** Lines that are none of ours. */
  malformed = 0;

  constructor(private readonly options: TailOptions) {
    this.since = options.now();
    this.poll = singleFlight(() => this.pollNow());
    this.timer = setInterval(() => void this.poll(), POLL_MS);
    void this.poll();
  }

  get connected(): number {
    return this.readers.size;
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    for (const { socket } of this.readers) socket.destroy();
  }

  private async pollNow(): Promise<void> {
    this.forgetFuture();
    let pid: number;
    try {
      pid = Number(PID.exec(await ask(this.options.socket, "show info"))?.[1]);
    } catch {
      // It does not run, or not yet: the next look tells.
      return;
    }
    const known = [...this.readers].some((reader) => reader.pid === pid || reader.pid === undefined);
    if (!known && !this.closed && Number.isInteger(pid)) this.attach();
  }

  /** Once the clock was set back, lines must not be taken for known ones until it is where it was. */
  private forgetFuture(): void {
    const now = this.options.now();
    this.since = Math.min(this.since, now);
    for (const reader of this.readers) reader.after = Math.min(reader.after, now);
    for (const [pid, at] of this.read) this.read.set(pid, Math.min(at, now));
  }

  private attach(): void {
    let rest: Buffer | undefined;
    const read = (bytes: number, room: Uint8Array): boolean => {
      const chunk = Buffer.from(room.buffer, room.byteOffset, bytes);
      const buffer = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      const start = reader.pid === undefined ? this.greet(reader, buffer) : 0;
      const left = start === undefined ? buffer : this.take(reader, buffer, start);
      // Copy the rest: the next read overwrites this memory.
      rest = left === undefined ? undefined : Buffer.from(left);
      if (reader.pid === undefined) return true;
      if (rest !== undefined && rest.length > MAX_REST) socket.destroy();
      const more = this.line.at < this.options.now() - CAUGHT_UP_MS;
      if (!more) setTimeout(() => socket.resume(), PAUSE_MS).unref();
      return more;
    };
    // A stream would go on reading until its own buffer is full, and give it in as many pieces as it was read in.
    const socket = createConnection({
      path: this.options.socket,
      onread: { buffer: Buffer.alloc(READ_BYTES), callback: read },
    });
    const reader: Reader = { socket, pid: undefined, after: this.since, skipping: true };
    this.readers.add(reader);
    socket.on("connect", () => socket.write(COMMAND));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.readers.delete(reader));
  }

  /** Reads who a worker is, and takes leave of those before it. Returns where its lines begin; nothing before it has said so. */
  private greet(reader: Reader, buffer: Buffer): number | undefined {
    const end = buffer.indexOf("\n\n");
    if (end < 0) return undefined;
    const pid = Number(PID.exec(buffer.toString("latin1", 0, end))?.[1]);
    const others = [...this.readers].filter((other) => other !== reader);
    // Around a reload two workers share the socket for a moment: this one is read from already.
    if (!Number.isInteger(pid) || others.some((other) => other.pid === pid)) {
      reader.socket.destroy();
      return undefined;
    }
    reader.pid = pid;
    reader.after = this.read.get(pid) ?? this.since;
    for (const known of this.read.keys())
      if (known !== pid && !others.some((other) => other.pid === known)) this.read.delete(known);
    const leave = () => {
      for (const other of others) other.socket.destroy();
    };
    if (others.length > 0) setTimeout(leave, LAST_LINES_MS).unref();
    return end + 2;
  }

  /** Takes the lines of a batch; returns what is left of the last one. */
  private take(reader: Reader, buffer: Buffer, from: number): Buffer | undefined {
    const { batch, line: give } = this.options;
    batch();
    const { line } = this;
    let newest = reader.after;
    let start = from;
    for (let end = buffer.indexOf(LINE_FEED, start); end >= 0; end = buffer.indexOf(LINE_FEED, start)) {
      if (parseLine(buffer, start, end, line)) {
        reader.skipping = line.at <= reader.after;
        if (!reader.skipping) {
          if (line.at > newest) newest = line.at;
          this.lines++;
          give(line);
        }
      } else if (!reader.skipping) this.other(buffer.toString("latin1", start, end));
      start = end + 1;
    }
    if (reader.pid !== undefined) this.read.set(reader.pid, Math.max(newest, this.read.get(reader.pid) ?? 0));
    return start === buffer.length ? undefined : buffer.subarray(start);
  }

  private other(text: string): void {
    const dropped = droppedOf(text);
    if (dropped === undefined) this.malformed++;
    else this.options.lost(dropped);
  }
}
