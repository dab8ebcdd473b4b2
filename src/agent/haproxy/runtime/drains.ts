import { ask, change } from "./runtime-api";
import { type DrainingServer, path } from "./server-assignments";
import type { WorkerSnapshot } from "./snapshot";
import type { Sockets, WorkerSet } from "./worker-set";

/**
 * One step for every draining server: cut its connections after its deadline, and remove it once it has none.
 *
 * @returns those that have not left yet
 */
export async function advance(
  leaving: readonly DrainingServer[],
  workers: WorkerSet,
  sockets: Sockets,
  { now, log }: { now: number; log: (message: string, data?: object) => void },
): Promise<DrainingServer[]> {
  const still: DrainingServer[] = [];
  for (const server of leaving) {
    if (now >= server.deadline) await cutSessions(server, workers, sockets, log);
    const gone = await removed(server, workers.current, sockets);
    const held = workers.old.some(({ snapshot }) => snapshot === undefined || sessionsOn(server, snapshot) > 0);
    if (!gone || held) still.push(server);
    else log(`server ${path(server)} has left`, { address: server.address, port: server.port });
  }
  return still;
}

function sessionsOn({ backend, id }: DrainingServer, worker: WorkerSnapshot): number {
  return worker.backends.get(backend)?.get(id)?.sessions ?? 0;
}

async function cutSessions(
  server: DrainingServer,
  { current, old }: WorkerSet,
  sockets: Sockets,
  log: (message: string, data?: object) => void,
): Promise<void> {
  const count = sessionsOn(server, current);
  if (count > 0) await change(sockets.worker, [`shutdown sessions server ${path(server)}`]);
  const inOld = old.filter(({ snapshot }) => snapshot !== undefined && sessionsOn(server, snapshot) > 0);
  for (const { pid } of inOld) await cutInOldWorker(server, pid, sockets.master);
  if (count > 0 || inOld.length > 0)
    log(`server ${path(server)} is past its drain deadline: what was left on it is cut`, {
      sessions: count,
      oldWorkers: inOld.length,
    });
}

/** Commands to one old worker at the same time. */
const AT_ONCE = 32;

/** An old worker refuses every command on its servers ("Proxy is disabled"), but ends single streams. */
async function cutInOldWorker({ backend, id }: DrainingServer, pid: number, master: string): Promise<void> {
  // It may end at any moment, and then has nothing left to cut: what it answers does not matter.
  const streams = await ask(master, `@!${pid} show sess`, { retry: true });
  const mine = streams.split("\n").filter((line) => line.includes(` be=${backend} srv=${id} `));
  const ids = mine.flatMap((line) => /^(0x[0-9a-f]+):/.exec(line)?.[1] ?? []);
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    const some = ids.slice(start, start + AT_ONCE);
    await Promise.all(some.map((stream) => ask(master, `@!${pid} shutdown session ${stream}`, { retry: true })));
  }
}

/** Removes a server from the current worker where nothing uses it any more. Resolves with whether it is gone. */
async function removed(server: DrainingServer, worker: WorkerSnapshot, sockets: Sockets): Promise<boolean> {
  const is = worker.backends.get(server.backend)?.get(server.id);
  if (is === undefined) return true;
  if (is.sessions > 0) return false;
  // Maintenance also closes the idle connections to the server.
  if (is.state !== "maint") {
    await change(sockets.worker, [`set server ${path(server)} state maint`]);
    return false;
  }
  if (await isReferenced(server, sockets.worker)) return false;
  const answer = await ask(sockets.worker, `del server ${path(server)}`);
  if (/Server deleted|No such server/.test(answer)) return true;
  if (/still has connections/.test(answer)) return false;
  throw new Error(`HAProxy refused to remove server ${path(server)}: ${answer.trim()}`);
}

/**
 * Whether a stream or a connection still points to a server without sessions. HAProxy 2.6's own check before `del server`
 * overlooks both (fixed in 3.0: a client that still reads what the server had finished), and crashes later. A server in
 * maintenance gets no new streams, so the answer holds.
 */
async function isReferenced({ backend, id }: DrainingServer, socket: string): Promise<boolean> {
  const [connections, streams] = await Promise.all([
    ask(socket, `show servers conn ${backend}`),
    ask(socket, "show sess"),
  ]);
  const head = connections.split("\n").find((line) => line.startsWith("# ")) ?? "";
  const titles = head.slice(2).split(" ");
  const row =
    connections
      .split("\n")
      .find((line) => line.startsWith(`${backend}/${id} `))
      ?.split(" ") ?? [];
  const used = (title: string) => Number(row[titles.indexOf(title)] ?? 0);
  return used("used_cur") > 0 || used("idle_cur") > 0 || streams.includes(` be=${backend} srv=${id} `);
}
