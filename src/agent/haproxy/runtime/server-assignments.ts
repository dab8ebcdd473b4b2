import type { BackendSpec, ServerState } from "../../../model/edge/backend";
import { milliseconds } from "../../../model/types/duration";

/**
 * A declared server and the name under which HAProxy knows it. The two differ only where a server changed its address
 * while its predecessor of the same name was still draining: then it is `name.2`, which no user can choose.
 */
export interface ServerAssignment {
  backend: string;
  name: string;
  id: string;
  address: string;
  port: number;
  weight: number;
  state: ServerState;
}

/** A server that is no longer wanted and finishes what it has. */
export interface DrainingServer {
  backend: string;
  id: string;
  address: string;
  port: number;
  /** Time at which its remaining connections are cut, in milliseconds since the epoch. */
  deadline: number;
}

export interface ServerAssignments {
  placed: ServerAssignment[];
  leaving: DrainingServer[];
}

/** Name of a server within HAProxy. */
export function path({ backend, id }: { backend: string; id: string }): string {
  return `${backend}/${id}`;
}

/**
 * Gives each declared server its name within HAProxy, and says who leaves. A server keeps its name as long as its
 * address stays; one that is wanted again while it leaves gets its old name back.
 */
export function assignServers(
  backends: Record<string, BackendSpec>,
  before: ServerAssignments & { backends?: Record<string, BackendSpec> },
  now: number,
): ServerAssignments {
  const known = groupByBackend(before.placed);
  const left = groupByBackend(before.leaving);
  const placed = Object.entries(backends)
    .toSorted(byKey)
    .flatMap(([backend, spec]) => assignBackend(backend, spec, known.get(backend) ?? [], left.get(backend) ?? []));
  const wanted = new Set(placed.map(path));
  const addresses = new Set(placed.map(({ address, port }) => `${address} ${port}`));
  const leave = before.placed
    .filter((server) => !wanted.has(path(server)))
    .map(({ backend, id, address, port }) => ({
      backend,
      id,
      address,
      port,
      // One that goes on in another backend, as a candidate that becomes the stable release does, finishes all it has.
      deadline: addresses.has(`${address} ${port}`)
        ? NEVER
        : now + drainMs(backends[backend] ?? before.backends?.[backend]),
    }));
  const leaving = [...before.leaving, ...leave].filter((server) => !wanted.has(path(server)));
  return { placed, leaving };
}

/** The last moment that a date can be, in milliseconds since the epoch. */
const NEVER = 8.64e15;
/** Time that a server which leaves has, where nobody knows its backend any more. */
const ORPHAN_DRAIN_MS = 60_000;

/** Time that a server which leaves a backend has. */
export function drainMs(spec: BackendSpec | undefined): number {
  return spec === undefined ? ORPHAN_DRAIN_MS : milliseconds(spec.drainDeadline);
}

/** A server that leaves, with no more time than its backend gives: a clock that was set back must not make it last. */
export function withinDrain(server: DrainingServer, spec: BackendSpec | undefined, now: number): DrainingServer {
  if (spec === undefined || server.deadline === NEVER) return server;
  return { ...server, deadline: Math.min(server.deadline, now + drainMs(spec)) };
}

/** The servers of each backend. */
export function groupByBackend<T extends { backend: string }>(servers: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const server of servers) {
    const group = groups.get(server.backend);
    if (group === undefined) groups.set(server.backend, [server]);
    else group.push(server);
  }
  return groups;
}

function assignBackend(
  backend: string,
  spec: BackendSpec,
  known: readonly ServerAssignment[],
  leaving: readonly DrainingServer[],
): ServerAssignment[] {
  const taken = new Set([...known, ...leaving].map(({ id }) => id));
  return Object.entries(spec.servers)
    .toSorted(byKey)
    .map(([name, { address, port, weight, state }]) => {
      const same = (server: { id: string; address: string; port: number }) =>
        nameOf(server.id) === name && server.address === address && server.port === port;
      const id = (known.find(same) ?? leaving.find(same))?.id ?? freeId(name, taken);
      return { backend, name, id, address, port, weight, state };
    });
}

function freeId(name: string, taken: ReadonlySet<string>): string {
  if (!taken.has(name)) return name;
  let number = 2;
  while (taken.has(`${name}.${number}`)) number += 1;
  return `${name}.${number}`;
}

/** The declared name behind a server's name within HAProxy. */
function nameOf(id: string): string {
  return id.split(".")[0] ?? id;
}

export function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}
