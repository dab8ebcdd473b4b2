import { readFileSync } from "node:fs";
import { findGroup, findUser } from "../../../support/accounts";

interface WorkerAccount {
  user: string;
  group: string;
  /** Number of the group. */
  gid: number;
}

/** Facts of the host that decide over an edge's config. */
export interface HostFacts {
  /** Account of the workers, where HAProxy is started as root. */
  account?: WorkerAccount | undefined;
  /** Files that a process may have open at most, where the host limits them. */
  maxOpenFiles?: number | undefined;
}

export async function hostFacts(): Promise<HostFacts> {
  return { account: await workerAccount(), maxOpenFiles: maxOpenFiles() };
}

/** Kept once it is found: edges ask for it at every look, and sockets of the agent are given to its group at the start. */
let foundAccount: WorkerAccount | undefined;

/**
 * Account under which workers run where HAProxy is started as root: `haproxy`, which its packages create, else nobody's.
 * The master keeps root's rights, so that it can bind low ports and read certificates at every reload.
 */
async function workerAccount(): Promise<WorkerAccount | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  if (foundAccount !== undefined) return foundAccount;
  const user = await firstOf(["haproxy", "nobody"], findUser);
  const group = await firstOf(["haproxy", "nogroup", "nobody"], findGroup);
  if (user !== undefined && group !== undefined) foundAccount = { user: user.name, group: group.name, gid: group.gid };
  return foundAccount;
}

async function firstOf<T>(names: string[], find: (name: string) => Promise<T | undefined>): Promise<T | undefined> {
  for (const name of names) {
    const found = await find(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The hard limit, up to which HAProxy raises its own. */
function maxOpenFiles(): number | undefined {
  const match = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
  return match === null ? undefined : Number(match[1]);
}

/** Files that HAProxy needs besides those of connections: listeners, health checks, threads, sockets. */
const OTHER_FILES = 1024;

/**
 * Connections at once that an edge can have. HAProxy takes two files for each and refuses to start where the host's limit
 * does not suffice, so that less is asked for there.
 */
export function connectionsWithin(declared: number, { maxOpenFiles = Number.POSITIVE_INFINITY }: HostFacts): number {
  return Math.min(declared, Math.floor((maxOpenFiles - Math.min(OTHER_FILES, maxOpenFiles / 4)) / 2));
}
