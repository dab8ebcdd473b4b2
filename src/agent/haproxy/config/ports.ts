import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { collide, hostPort } from "../../../model/edge/edge";
import { waitFor } from "../../../support/waiting";
import { readStat } from "../../processes/identity";
import { holdersOf, listeningSockets, socketsOf } from "../../processes/listeners";
import { endpoint } from "./quote";

interface Listener {
  address: string;
  port: number;
}

/**
 * Makes sure that HAProxy can listen on addresses on which it does not yet. HAProxy itself must not find out: a reload
 * that cannot bind pauses all frontends of the running worker while it tries, and so refuses connections (2.6: about
 * 300 ms), and it shares a port silently with whoever else set SO_REUSEPORT.
 *
 * @param waitMs how long to wait for holders of this edge itself, which are ending
 * @throws Error naming the first address that is taken, and the process that holds it where /proc tells
 */
export async function assertFree(listeners: readonly Listener[], { waitMs = 0 } = {}): Promise<void> {
  const giveUpAt = performance.now() + waitMs;
  for (const listener of listeners) {
    let code: string | undefined;
    const tried = async () => {
      code = await bindError(listener);
      return code !== "EADDRINUSE";
    };
    await waitFor(tried, { everyMs: 20, deadlineMs: giveUpAt - performance.now() });
    if (code !== undefined) throw new Error(await bindProblem(listener, code));
  }
}

function bindError({ address, port }: Listener): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

async function bindProblem(listener: Listener, code: string): Promise<string> {
  const where = endpoint(listener);
  if (code === "EADDRINUSE") {
    const holder = await holderOf(listener.port);
    return `${where} is in use${holder === undefined ? "" : ` by ${holder}`}: stop what listens there, take it over, or choose another port`;
  }
  if (code === "EADDRNOTAVAIL") return `${where} is not an address of this host: choose one that is`;
  if (code === "EACCES")
    return `${where} needs privileges: choose a port from 1024, or run the agent with CAP_NET_BIND_SERVICE`;
  return `${where} cannot be listened on: ${code}`;
}

/** The process that listens on a TCP port, as `nginx (pid 123)`, where /proc tells. */
export async function holderOf(port: number): Promise<string | undefined> {
  const inodes = (await listeningSockets()).filter((socket) => socket.port === port).map(({ inode }) => inode);
  const [pid] = [...(await holdersOf(new Set(inodes))).values()].flat();
  return pid === undefined ? undefined : processName(pid);
}

/**
 * Processes that share the ports of a HAProxy, so that the kernel gives them some of its connections: whoever runs as the
 * same user can, by SO_REUSEPORT. One sentence each, and nothing where /proc does not tell which sockets are HAProxy's.
 *
 * @param own process ids of the HAProxy, workers of before a reload included
 */
export async function sharersOf(listeners: readonly Listener[], own: readonly number[]): Promise<string[]> {
  const sockets = (await listeningSockets()).filter((socket) =>
    listeners.some((listener) => collide(socket, listener)),
  );
  const held = new Set((await Promise.all(own.map(socketsOf))).flatMap((inodes) => [...inodes]));
  const ours = sockets.filter(({ inode }) => held.has(inode));
  const others = sockets.filter((socket) => !ours.includes(socket) && ours.some((each) => collide(each, socket)));
  const holders = await holdersOf(new Set(others.map(({ inode }) => inode)));
  return Promise.all(
    others.flatMap(({ inode, address, port }) => {
      const [pid] = holders.get(inode) ?? [];
      // A worker that has just begun is the master's child, and not known by its process id yet.
      if (pid === undefined || own.includes(pid) || own.includes(readStat(pid)?.parent ?? 0)) return [];
      return [processName(pid).then((name) => `${name} listens on ${hostPort(address, port)}, too`)];
    }),
  );
}

async function processName(pid: number): Promise<string> {
  return `${(await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "a process")).trim()} (pid ${pid})`;
}
