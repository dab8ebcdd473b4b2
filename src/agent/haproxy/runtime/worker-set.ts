import { setTimeout as sleep } from "node:timers/promises";
import { type Processes, showProcesses } from "./master";
import { ask, isRefusal } from "./runtime-api";
import { type WorkerSnapshot, workerSnapshot } from "./snapshot";

/** A worker of before a reload, which finishes what it has. */
interface OldWorker {
  pid: number;
  /** At least this long ago a newer worker took over, in seconds. */
  replacedForSeconds: number;
  /** Absent if the worker ended during the query. */
  snapshot: WorkerSnapshot | undefined;
}

/** All processes of one HAProxy at one moment. */
export interface WorkerSet {
  processes: Processes;
  /** The worker that takes new connections. */
  current: WorkerSnapshot;
  old: OldWorker[];
}

export interface Sockets {
  /** Runtime API of the current worker. */
  worker: string;
  /** The master's, through which old workers are reached. */
  master: string;
}

/** Retries until the newest worker itself has answered: around a reload, two share one socket for a moment. */
const ATTEMPTS = 100;
const ATTEMPT_PAUSE_MS = 5;

/** Takes a snapshot of everything that runs, or nothing where HAProxy does not run. */
export async function snapshotWorkers(sockets: Sockets): Promise<WorkerSet | undefined> {
  for (let attempt = 1; ; attempt++) {
    const workers = await snapshotOnce(sockets);
    if (workers === undefined || workers.current.pid === workers.processes.worker?.pid || attempt === ATTEMPTS)
      return workers;
    await sleep(ATTEMPT_PAUSE_MS);
  }
}

async function snapshotOnce(sockets: Sockets): Promise<WorkerSet | undefined> {
  try {
    const processes = await showProcesses(sockets.master);
    const [current, ...old] = await Promise.all([
      workerSnapshot(sockets.worker),
      ...processes.oldWorkers.map(
        async ({ pid, reloads }): Promise<OldWorker> => ({
          pid,
          replacedForSeconds: successorUptime(processes, reloads),
          snapshot: await oldSnapshot(sockets.master, pid),
        }),
      ),
    ]);
    return { processes, current, old };
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** HAProxy counts reloads per worker: the one with the next smaller count took over from it. */
function successorUptime({ worker, oldWorkers }: Processes, reloads: number): number {
  const younger = [...oldWorkers, ...(worker === undefined ? [] : [worker])].filter((other) => other.reloads < reloads);
  return Math.max(0, ...younger.map(({ uptimeSeconds }) => uptimeSeconds));
}

async function oldSnapshot(master: string, pid: number): Promise<WorkerSnapshot | undefined> {
  try {
    return await workerSnapshot(master, `@!${pid} `);
  } catch (error) {
    if (isRefusal(error)) throw error;
    return undefined;
  }
}

/** Sessions that a worker has on the server at an address, and whether the server would be given new ones. */
export function usageIn(
  worker: WorkerSnapshot,
  address: string,
  port: number,
): { connections: number; takes: boolean } {
  const servers = [...worker.backends.values()].flatMap((backend) => [...backend.values()]);
  const same = servers.filter((server) => server.address === address && server.port === port);
  return {
    connections: same.reduce((sum, { sessions }) => sum + sessions, 0),
    takes: same.some(({ state, weight }) => state === "ready" && weight > 0),
  };
}

/** Client connections of a worker. */
export function clients(worker: WorkerSnapshot): number {
  return [...worker.frontends.values()].reduce((sum, { sessions }) => sum + sessions, 0);
}

/**
 * Requests, WebSockets and other streams in all workers, asked through the master: one that stops has no other socket.
 * Undefined where it can't be reached.
 */
export async function streams(master: string): Promise<number | undefined> {
  try {
    const { worker, oldWorkers } = await showProcesses(master);
    const all = worker === undefined ? oldWorkers : [worker, ...oldWorkers];
    const lists = await Promise.all(all.map(({ pid }) => ask(master, `@!${pid} show sess`)));
    const lines = lists.flatMap((list) => list.split("\n")).filter((line) => line.startsWith("0x"));
    return lines.filter((line) => !line.includes(" fe=GLOBAL ")).length;
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
