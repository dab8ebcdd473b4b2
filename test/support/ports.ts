import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

/** Below it, ports may need privileges or belong to well-known services. */
const FIRST_PORT = 10_000;
const TRIES = 50;

/**
 * The first of a row of ports on which nothing listens. They lie below the range from which the system takes ports for
 * clients, so that no connection gets into the way before they are used.
 */
export async function freePorts(count: number): Promise<number> {
  const [firstOfClients] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "latin1").split(/\s+/).map(Number);
  const below = Math.max(FIRST_PORT + count + 1, (firstOfClients ?? 0) - count);
  for (let tried = 0; tried < TRIES; tried++) {
    const first = randomInt(FIRST_PORT, below);
    const row = Array.from({ length: count }, (_, index) => first + index);
    if ((await Promise.all(row.map(isFree))).every((free) => free)) return first;
  }
  throw new Error(`no ${count} free ports in a row between ${FIRST_PORT} and ${below + count}: end what listens there`);
}

/** Whether nothing listens on a port of the loopback address. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
