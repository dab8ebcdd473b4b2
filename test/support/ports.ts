import { readFileSync } from "node:fs";
import { createServer, type ListenOptions, type Server } from "node:net";

/** Below it, ports may need privileges, belong to well-known services, or be refused by fetch: 10080 is the last of those. */
const FIRST_PORT = 10_100;
/** First port that the system by default gives to clients; if it begins below, there is no better end. */
const LAST_END = 32_768;
/** Ports that are taken together, so that few sockets hold them. */
const BLOCK = 8;

/** Ports that this process holds and has not given out. */
let rest = { next: 0, end: 0 };
/** Callers at the same time take one after the other. */
let turn: Promise<unknown> = Promise.resolve();

/**
 * The first of a row of ports on which nothing listens, and that no other caller gets, in whatever process of this machine,
 * until this process ends. They lie below the range from which the system takes ports for clients, so that no connection
 * gets into the way before they are used.
 */
export function freePorts(count: number): Promise<number> {
  const mine = turn.then(() => takeRow(count));
  turn = mine.catch(() => undefined);
  return mine;
}

/** Likewise, as a pool takes them. */
export async function freeRange(count: number): Promise<{ from: number; to: number }> {
  const from = await freePorts(count);
  return { from, to: from + count - 1 };
}

/** Likewise, one by one. */
export async function freePortList(count: number): Promise<number[]> {
  const first = await freePorts(count);
  return Array.from({ length: count }, (_, index) => first + index);
}

async function takeRow(count: number): Promise<number> {
  for (;;) {
    if (rest.end - rest.next < count) rest = await takeBlocks(Math.ceil(count / BLOCK));
    const first = rest.next;
    rest.next += count;
    const row = Array.from({ length: count }, (_, index) => first + index);
    if ((await Promise.all(row.map(isFree))).every(Boolean)) return first;
  }
}

/**
 * Takes blocks in a row. A socket with the block's name in the kernel's abstract namespace holds each: one process has it,
 * and loses it when it ends, whatever ends it.
 */
async function takeBlocks(count: number): Promise<{ next: number; end: number }> {
  const firstOfClients = Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "latin1").split(/\s+/)[0]);
  const end = firstOfClients > FIRST_PORT + 1_000 ? Math.min(firstOfClients, LAST_END) : LAST_END;
  const blocks = Math.floor((end - FIRST_PORT) / BLOCK);
  // Processes begin at places that lie apart, so that they seldom meet.
  const start = (process.pid * 61) % blocks;
  for (let attempts = 0; attempts + count <= blocks; attempts++) {
    const first = (start + attempts) % blocks;
    if (first + count > blocks) continue;
    const held = await holdAll(Array.from({ length: count }, (_, index) => FIRST_PORT + (first + index) * BLOCK));
    if (held) return { next: FIRST_PORT + first * BLOCK, end: FIRST_PORT + (first + count) * BLOCK };
  }
  throw new Error(`no ${count * BLOCK} ports in a row between ${FIRST_PORT} and ${end}: end the tests that hold them`);
}

/** All of the blocks or none. */
async function holdAll(blocks: readonly number[]): Promise<boolean> {
  const held: Server[] = [];
  for (const block of blocks) {
    const server = await listen({ path: `\0sluice-test-ports-${block}` });
    if (server === undefined) {
      for (const each of held) each.close();
      return false;
    }
    held.push(server.unref());
  }
  return true;
}

/** Whether nothing listens on a port of any address. */
export async function isFree(port: number): Promise<boolean> {
  const server = await listen({ port, host: "0.0.0.0" });
  if (server === undefined) return false;
  return new Promise((resolve) => server.close(() => resolve(true)));
}

/** Undefined where somebody else does. */
function listen(options: ListenOptions): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(options, () => resolve(server));
  });
}
