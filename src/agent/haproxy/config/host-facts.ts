import { readFileSync } from "node:fs";

/** Facts of the host that decide over an edge's config. */
export interface HostFacts {
  /** Account of the workers, where HAProxy is started as root. */
  account?: { user: string; group: string } | undefined;
  /** Files that a process may have open at most, where the host limits them. */
  maxOpenFiles?: number | undefined;
}

export function hostFacts(): HostFacts {
  return { account: workerAccount(), maxOpenFiles: maxOpenFiles() };
}

/**
 * Account under which workers run where HAProxy is started as root: `haproxy`, which its packages create, else nobody's.
 * The master keeps root's rights, so that it can bind low ports and read certificates at every reload.
 */
function workerAccount(): { user: string; group: string } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const has = (file: string, name: string) => new RegExp(`^${name}:`, "m").test(readFileSync(file, "utf8"));
  const user = ["haproxy", "nobody"].find((name) => has("/etc/passwd", name));
  const group = ["haproxy", "nogroup", "nobody"].find((name) => has("/etc/group", name));
  return user === undefined || group === undefined ? undefined : { user, group };
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
