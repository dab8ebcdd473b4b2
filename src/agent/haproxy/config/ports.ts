import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { waitFor } from "../../../support/waiting";
import { holdersOf, listeningSockets } from "../../processes/listeners";
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
  if (code === "EADDRNOTAVAIL") return `${where} is no address of this host: choose one that is`;
  if (code === "EACCES")
    return `${where} needs privileges: choose a port from 1024, or run the agent with CAP_NET_BIND_SERVICE`;
  return `${where} cannot be listened on: ${code}`;
}

/** The process that listens on a TCP port, as `nginx (pid 123)`, where /proc tells. */
export async function holderOf(port: number): Promise<string | undefined> {
  const inodes = (await listeningSockets()).filter((socket) => socket.port === port).map(({ inode }) => inode);
  const [pid] = [...(await holdersOf(new Set(inodes))).values()].flat();
  if (pid === undefined) return undefined;
  return `${(await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "a process")).trim()} (pid ${pid})`;
}
