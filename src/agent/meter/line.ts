/**
 * The fields of a line of HAProxy's log, in this order: end of the request in milliseconds since the epoch, status,
 * termination state, the times in queue, connecting and up to the answer's head, all in milliseconds, the whole time,
 * bytes sent; then who served it: edge, route, backend and server. Nothing of it is chosen by a client.
 */
export function logFormat(edge: string): string {
  return `%[date(0,ms)] %ST %ts %Tw %Tc %Tr %Ta %B ${edge} %[var(${ROUTE_VARIABLE})] %b %s`;
}

/** Name of the ring in HAProxy's memory that holds the lines. */
export const METER_RING = "meter";

/** Variable of a request that holds the name of its route. */
const ROUTE_VARIABLE = "txn.route";

/** Longest line, in bytes: three names of 40 and one of 75 characters, and the numbers. */
export const MAX_LINE = 512;

const SPACE = 0x20;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/** A parsed line. One object serves all lines, as tens of thousands of them come in a second. */
export interface Line {
  at: number;
  status: number;
  /** Characters of the termination state: who ended it, and when in the request's life. */
  who: number;
  when: number;
  queueMs: number;
  connectMs: number;
  headMs: number;
  totalMs: number;
  bytes: number;
  /** Edge, route, backend and server, with a space in between. */
  key: string;
}

export function emptyLine(): Line {
  return { at: 0, status: 0, who: 0, when: 0, queueMs: 0, connectMs: 0, headMs: 0, totalMs: 0, bytes: 0, key: "" };
}

let position = 0;

/** A whole number, and the space after it. NaN where there is none. */
function number(buffer: Buffer, end: number): number {
  let at = position;
  const negative = buffer[at] === MINUS;
  if (negative) at++;
  let value = 0;
  const first = at;
  for (; at < end; at++) {
    const digit = buffer[at] as number;
    if (digit < ZERO || digit > NINE) break;
    value = value * 10 + digit - ZERO;
  }
  if (at === first || buffer[at] !== SPACE) return Number.NaN;
  position = at + 1;
  return negative ? -value : value;
}

/** Reads the line in `buffer` from `start` to `end` into `line`. Returns whether it is one. */
export function parseLine(buffer: Buffer, start: number, end: number, line: Line): boolean {
  position = start;
  line.at = number(buffer, end);
  line.status = number(buffer, end);
  line.who = buffer[position] as number;
  line.when = buffer[position + 1] as number;
  if (buffer[position + 2] !== SPACE) return false;
  position += 3;
  line.queueMs = number(buffer, end);
  line.connectMs = number(buffer, end);
  line.headMs = number(buffer, end);
  line.totalMs = number(buffer, end);
  line.bytes = number(buffer, end);
  const sum = line.at + line.status + line.queueMs + line.connectMs + line.headMs + line.totalMs + line.bytes;
  if (Number.isNaN(sum) || position >= end) return false;
  line.key = buffer.toString("latin1", position, end);
  return true;
}

const DROPPED = /^(\d+) events? dropped$/;

/** Number of lines that HAProxy says it could not deliver, where a line says that. */
export function droppedOf(text: string): number | undefined {
  const match = DROPPED.exec(text);
  return match === null ? undefined : Number(match[1]);
}
