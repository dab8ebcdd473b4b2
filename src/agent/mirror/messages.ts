import { KIND, MAX_MESSAGE, NUMBER_BYTES, SOURCE_BYTES } from "./script";

/** A request as HAProxy would have sent it to its server. */
export interface Copy {
  edge: string;
  route: string;
  method: string;
  /** Address of the client; empty where it has none. */
  source: string;
  /** With its query. */
  path: string;
  /** Names in lower case; one that comes twice stands twice. */
  headers: [name: string, value: string][];
  body: Buffer;
}

/** Receiver of a batch's messages. */
export interface Sink {
  copy(copy: Copy): void;
  sample(copy: Copy): void;
  dropped(route: string, reason: string, copies: number): void;
}

/** Everything that a thread of a worker's sends at once. */
export interface Batch {
  edge: string;
  /** Random name of the thread. */
  source: string;
  /** Counts up; a batch that comes again has the same. */
  number: number;
  deliver(sink: Sink): void;
}

/** Reads the messages of one connection, in whatever pieces they come. */
export class MessageReader {
  private rest: Buffer | undefined;
  private head = { edge: "", source: "", number: 0 };
  private content: ((sink: Sink) => void)[] = [];

  /** @param ended told of each batch that is complete */
  constructor(private readonly ended: (batch: Batch) => void) {}

  /** @throws where it is no message: the connection is of no use any more */
  push(chunk: Buffer): void {
    const buffer = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    let start = 0;
    while (buffer.length - start >= 4) {
      const length = buffer.readUInt32LE(start);
      if (length === 0 || length > MAX_MESSAGE) throw new Error(`a message of ${length} bytes`);
      if (buffer.length - start < 4 + length) break;
      this.take(buffer.subarray(start + 4, start + 4 + length));
      start += 4 + length;
    }
    this.rest = start === buffer.length ? undefined : buffer.subarray(start);
  }

  private take(message: Buffer): void {
    const fields = new Fields(message, 1);
    const kind = message[0];
    if (kind === KIND.hello) {
      const source = fields.fixed(SOURCE_BYTES).toString("hex");
      const number = fields.fixed(NUMBER_BYTES).readUIntLE(0, NUMBER_BYTES);
      this.head = { source, number, edge: fields.rest().toString("latin1") };
      this.content = [];
    } else if (kind === KIND.end) {
      const { head, content } = this;
      this.content = [];
      const deliver = (sink: Sink) => {
        for (const each of content) each(sink);
      };
      this.ended({ ...head, deliver });
    } else if (kind === KIND.dropped) {
      const [route, reason, copies] = [fields.text(1), fields.text(1), fields.uint32()];
      this.content.push((sink) => sink.dropped(route, reason, copies));
    } else if (kind === KIND.copy || kind === KIND.sample) {
      const copy = this.copyOf(fields);
      this.content.push((sink) => (kind === KIND.copy ? sink.copy(copy) : sink.sample(copy)));
    } else throw new Error(`a message of kind ${kind}`);
  }

  private copyOf(fields: Fields): Copy {
    const [route, method, source, path] = [fields.text(1), fields.text(1), fields.text(1), fields.text(4)];
    const headers = headersOf(fields.bytes(4));
    // Copy the rest: the next read overwrites this memory.
    return { edge: this.head.edge, route, method, source, path, headers, body: Buffer.from(fields.rest()) };
  }
}

/** Reads fields of `string.pack` one after the other. */
class Fields {
  constructor(
    private readonly buffer: Buffer,
    private at: number,
  ) {}

  uint32(): number {
    return this.fixed(4).readUInt32LE(0);
  }

  fixed(length: number): Buffer {
    return this.slice(this.at, length);
  }

  /** @param size bytes of the length that stands before */
  bytes(size: 1 | 4): Buffer {
    const length = size === 1 ? this.buffer.readUInt8(this.at) : this.buffer.readUInt32LE(this.at);
    return this.slice(this.at + size, length);
  }

  private slice(start: number, length: number): Buffer {
    if (start + length > this.buffer.length) throw new Error(`a field of ${length} bytes that ends behind its message`);
    this.at = start + length;
    return this.buffer.subarray(start, this.at);
  }

  text(size: 1 | 4): string {
    return this.bytes(size).toString("latin1");
  }

  rest(): Buffer {
    return this.buffer.subarray(this.at);
  }
}

/** Reads HAProxy's `req.hdrs_bin`: pairs of name and value, each with its length before; empty ones end it. */
function headersOf(block: Buffer): Copy["headers"] {
  const headers: Copy["headers"] = [];
  let at = 0;
  const next = (): string => {
    const { value: length, next: start } = varint(block, at);
    if (start + length > block.length) throw new Error(`a header of ${length} bytes that ends behind its block`);
    at = start + length;
    return block.toString("latin1", start, at);
  };
  while (at < block.length) {
    const name = next();
    const value = next();
    if (name === "" && value === "") break;
    headers.push([name, value]);
  }
  return headers;
}

/** HAProxy's own encoding of numbers (doc/SPOE.txt, 3.1): one byte below 240, then 4 bits and 7 bits for each further one. */
function varint(block: Buffer, at: number): { value: number; next: number } {
  let value = block.readUInt8(at);
  let next = at + 1;
  if (value < 0xf0) return { value, next };
  for (let shift = 4, byte = 0x80; byte >= 0x80; shift += 7, next++) {
    byte = block.readUInt8(next);
    value += byte * 2 ** shift;
  }
  return { value, next };
}
