import type { BackendSpec } from "../../model/edge/backend";
import { type EdgeSpec, listensOn } from "../../model/edge/edge";
import { backendOf, shareIn } from "../../model/pool/pool-backend";
import { candidateInstances, instancesOf } from "../../model/pool/pool-instances";
import type { EdgeBackend } from "../../model/pool/pool-share";
import type { PoolState } from "../../model/pool/pool-state";
import type { TakeoverEntry } from "../../model/process/takeover";
import type { Target } from "../../model/protocol/transaction";
import type { RouteSpec } from "../../model/route/route";
import { candidateBackend } from "../../model/types/names";
import type { Committed } from "./state";

/** Everything that should be on this host. Backends are keyed by `edge/backend`. */
export type Desired = Pick<Committed, "edges" | "backends" | "pools" | "routes">;

/** Changes of an open transaction: whole entries, `null` for a removal. */
export interface Overlay {
  edges: Record<string, EdgeSpec | null>;
  backends: Record<string, BackendSpec | null>;
  pools: Record<string, PoolState | null>;
  routes: Record<string, RouteSpec | null>;
}

export function emptyOverlay(): Overlay {
  return { edges: {}, backends: {}, pools: {}, routes: {} };
}

/** The desired state with overlays on top. */
export function merge({ edges, backends, pools, routes }: Desired, overlays: readonly Overlay[]): Desired {
  return {
    edges: mergeEntries(
      edges,
      overlays.map((overlay) => overlay.edges),
    ),
    backends: mergeEntries(
      backends,
      overlays.map((overlay) => overlay.backends),
    ),
    pools: mergeEntries(
      pools,
      overlays.map((overlay) => overlay.pools),
    ),
    routes: mergeEntries(
      routes,
      overlays.map((overlay) => overlay.routes),
    ),
  };
}

/** All at once: hundreds of transactions may be open, over hundreds of entries. */
function mergeEntries<T>(base: Record<string, T>, over: readonly Record<string, T | null>[]): Record<string, T> {
  const all: Record<string, T | null> = Object.assign({}, base, ...over);
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, T] => entry[1] !== null));
}

/**
 * The backends of one edge: those declared, and those that its pools serve.
 *
 * @param without ids of processes that get no traffic at the moment
 */
export function backendsOf(
  desired: Desired,
  edge: string,
  without: ReadonlySet<string> = new Set(),
): Record<string, EdgeBackend> {
  const declared = Object.entries(desired.backends).flatMap(([key, spec]): [string, EdgeBackend][] => {
    const [on, name] = key.split("/");
    return on === edge && name !== undefined ? [[name, spec]] : [];
  });
  const served = Object.entries(desired.pools).flatMap(([name, state]): [string, EdgeBackend][] => {
    if (state.settings.edge !== edge || state[state.serving] === undefined) return [];
    const stable = backendOf(name, state, without);
    const share = shareIn(name, state);
    if (share === undefined) return [[name, stable]];
    const candidate = backendOf(name, state, without, candidateInstances(name, state));
    return [
      [name, { ...stable, share }],
      // Gates judge it by its failures.
      [candidateBackend(name), { ...candidate, retry: "connection" }],
    ];
  });
  return Object.fromEntries([...declared, ...served].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The routes of one edge. */
export function routesOf(desired: Desired, edge: string): Record<string, RouteSpec> {
  return Object.fromEntries(Object.entries(desired.routes).filter(([, { edges }]) => edges.includes(edge)));
}

/** The edges and pools that a target concerns, in the desired states given (before and after a change). */
export function concerns(target: Target, states: Desired[]): { edges: string[]; pools: string[] } {
  const [kind, first = ""] = target.split("/");
  if (kind === "edge") return { edges: [first], pools: [] };
  if (kind === "backend") return { edges: [first], pools: [] };
  if (kind === "route")
    return { edges: [...new Set(states.flatMap(({ routes }) => routes[first]?.edges ?? []))], pools: [] };
  const edges = states.flatMap(({ pools }) => pools[first]?.settings.edge ?? []);
  return { edges: [...new Set(edges)], pools: [first] };
}

/** The address at which an edge is reached on this host: its first listener, such as `127.0.0.1:8080`. */
export function edgeAddress(desired: Desired, edge: string): string {
  const spec = desired.edges[edge];
  const first = spec === undefined ? undefined : listensOn(spec)[0];
  return first === undefined ? "" : `${first.address}:${first.port}`;
}

/** The processes that a pool should have. */
export function poolInstances(desired: Desired, pool: string) {
  const state = desired.pools[pool];
  return state === undefined ? [] : instancesOf(pool, state);
}

/** Whether every frontend of an edge leads to a backend with a server. */
function serves(desired: Desired, edge: string): boolean {
  const backends = backendsOf(desired, edge);
  const frontends = Object.values(desired.edges[edge]?.frontends ?? {});
  return frontends.every(({ defaultBackend }) => Object.keys(backends[defaultBackend]?.servers ?? {}).length > 0);
}

/**
 * Existing processes that must have ended: those of an edge that can serve, and of a pool whose singletons may run.
 *
 * @param target `edge/main`, `pool/web`; others have none
 */
export function wantedTakeover(desired: Desired, target: string): readonly TakeoverEntry[] {
  const [kind, name = ""] = target.split("/");
  const edge = kind === "edge" ? desired.edges[name] : undefined;
  if (edge !== undefined) return serves(desired, name) ? (edge.takeover ?? []) : [];
  const pool = kind === "pool" ? desired.pools[name] : undefined;
  return pool !== undefined && pool[pool.singletonsOf] !== undefined ? (pool.settings.takeover ?? []) : [];
}

/**
 * Whether an edge has something to take over, and nothing yet to answer requests with: it listens on no address of its own
 * until then, since whoever has it answers better.
 */
export function waitsToTakeOver(desired: Desired, takenOver: Committed["takenOver"], edge: string): boolean {
  return (
    desired.edges[edge]?.takeover !== undefined && takenOver[`edge/${edge}`] === undefined && !serves(desired, edge)
  );
}

/** Entries that are taken over once a state is committed; earlier ones stay so as long as they are declared. */
export function takenOverIn(desired: Desired, before: Committed["takenOver"]): Committed["takenOver"] {
  const declared = [
    ...Object.entries(desired.edges).map(([name, { takeover }]) => [`edge/${name}`, takeover] as const),
    ...Object.entries(desired.pools).map(([name, { settings }]) => [`pool/${name}`, settings.takeover] as const),
  ];
  return Object.fromEntries(
    declared.flatMap(([target, takeover]) => {
      const wanted = wantedTakeover(desired, target);
      const taken = wanted.length > 0 ? [...wanted] : before[target];
      return takeover === undefined || taken === undefined ? [] : [[target, taken]];
    }),
  );
}

/** Whether a target is part of a desired state. */
export function isDesired({ edges, pools, backends, routes }: Desired, target: Target): boolean {
  const [kind, first = "", second = ""] = target.split("/");
  if (kind === "edge") return edges[first] !== undefined;
  if (kind === "route") return routes[first] !== undefined;
  return kind === "pool" ? pools[first] !== undefined : backends[`${first}/${second}`] !== undefined;
}
