import { type BackendSpec, DEFAULT_WEIGHT, type Server, type ServerState } from "../edge/backend";
import { type EdgeSpec, hostPort } from "../edge/edge";
import type { PoolSpec } from "../pool/pool";
import { replicaKeys } from "../pool/pool-instances";
import { candidateOf, candidateShare, type PoolCanary } from "../pool/pool-share";
import type { ProcessTemplate } from "../process/process-template";
import { expectedTakeover } from "../process/takeover";
import { formatSplit } from "../route/split";

/**
 * Reality as agents observe it, and the expected one as computed from a spec. Previews compare the two; both have the
 * same shape.
 */

/** A server in HAProxy: `missing` when it should be there, other names stand for servers that somebody added. */
export interface LiveServer {
  state: ServerState | "missing";
  weight: number;
  /** Only where no health check runs: every server of ours has one. */
  check?: "off";
}

export interface EdgeLive {
  haproxy: "running" | "stopped";
  config: "as declared" | "changed by hand" | "not loaded" | "without a renewed certificate";
  /** By frontend: `open`, or what HAProxy says of one that takes no connections. */
  frontends: Record<string, string>;
  /** By what is to be taken over: `taken over`, or the process that still runs. */
  takeover?: Record<string, string>;
}

export interface BackendLive {
  servers: Record<string, LiveServer & { address: string }>;
}

export interface PoolLive {
  release: string;
  /** By replica key, such as `web#0`. */
  servers: Record<string, LiveServer>;
  /** By replica key: `running`, or the state of a process that is not. */
  processes: Record<string, string>;
  /** The candidate beside it. */
  candidate?: CandidateLive;
  /** By what is to be taken over: `taken over`, or the process that still runs. */
  takeover?: Record<string, string>;
}

export interface CandidateLive {
  release: string;
  /** Its share of the pool's requests, or `none` where the edge does not run. */
  split: string;
  servers: Record<string, LiveServer>;
  processes: Record<string, string>;
}

export interface RouteLive {
  /** By edge: the candidate's share of the requests, or `none` where the edge does not run. */
  splits: Record<string, string>;
  /** Likewise the share that is mirrored, where the route has a mirror. */
  mirrors?: Record<string, string>;
}

/** Each part of a reality by itself, computed from a spec: a preview may know only some of them. */
export type Parts<Spec, Live> = { [Part in keyof Live]-?: (spec: Spec) => Live[Part] | undefined };

function assemble<Spec, Live extends object>(parts: Parts<Spec, Live>, spec: Spec): Live {
  const made = Object.entries<(spec: Spec) => unknown>(parts).map(([name, part]) => [name, part(spec)]);
  return Object.fromEntries(made.filter(([, value]) => value !== undefined)) as Live;
}

type DeclaredEdge = Pick<EdgeSpec, "frontends" | "takeover">;

export const edgeParts: Parts<DeclaredEdge, EdgeLive> = {
  haproxy: () => "running",
  config: () => "as declared",
  frontends: ({ frontends }) => Object.fromEntries(Object.keys(frontends).map((name) => [name, "open"])),
  takeover: ({ takeover }) => expectedTakeover(takeover).takeover,
};

export function expectedEdge(spec: DeclaredEdge): EdgeLive {
  return assemble(edgeParts, spec);
}

export const serverParts: Parts<Server, Omit<BackendLive["servers"][string], "check">> = {
  address: ({ address, port }) => hostPort(address, port),
  state: ({ state }) => state,
  weight: ({ weight }) => weight,
};

export function expectedBackend({ servers }: Pick<BackendSpec, "servers">): BackendLive {
  const live = Object.entries(servers).map(([name, server]) => [name, assemble(serverParts, server)]);
  return { servers: Object.fromEntries(live) };
}

type DeclaredPool = Pick<PoolSpec, "release" | "processes" | "strategy" | "takeover"> & {
  canary?: PoolCanary | undefined;
};

export const poolParts: Parts<DeclaredPool, PoolLive> = {
  release: ({ release }) => release.id,
  // In place, its servers are those of the edges' own backends.
  servers: (pool) => (pool.strategy === "in-place" ? {} : expectedServers(pool.processes)),
  processes: ({ processes }) => running(keysOf(processes, ["service", "companion", "proxied", "singleton"])),
  candidate: (pool) => {
    const split = candidateShare(pool.canary);
    const candidate = split === 0 ? undefined : candidateOf(pool);
    return candidate && expectedCandidate(candidate, formatSplit(split));
  },
  takeover: ({ takeover }) => expectedTakeover(takeover).takeover,
};

export function expectedPool(spec: DeclaredPool): PoolLive {
  return assemble(poolParts, spec);
}

export function expectedCandidate(
  { release, processes }: Pick<PoolSpec, "release" | "processes">,
  split: string,
): CandidateLive {
  return {
    release: release.id,
    split,
    servers: expectedServers(processes),
    processes: running(keysOf(processes, ["companion", "proxied"])),
  };
}

function expectedServers(processes: PoolSpec["processes"]): Record<string, LiveServer> {
  const keys = keysOf(processes, ["proxied"]);
  return Object.fromEntries(keys.map((key) => [key, { state: "ready", weight: DEFAULT_WEIGHT }]));
}

function running(keys: string[]): Record<string, string> {
  return Object.fromEntries(keys.map((key) => [key, "running"]));
}

function keysOf(processes: PoolSpec["processes"], policies: ProcessTemplate["policy"][]): string[] {
  return Object.entries(processes)
    .filter(([, { policy }]) => policies.includes(policy))
    .flatMap(([id, template]) => replicaKeys(id, template));
}

export { hostPort };
