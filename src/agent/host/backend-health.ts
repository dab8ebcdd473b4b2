import type { Server } from "../../model/edge/backend";
import { type BackendHealth, type ServerHealth, takesRequests } from "../../model/edge/backend-health";
import { hostPort } from "../../model/edge/edge";
import { candidateInstances, serverName, servingInstances } from "../../model/pool/pool-instances";
import type { PoolState } from "../../model/pool/pool-state";
import { SPLIT_PARTS } from "../../model/route/split";
import { candidateBackend, poolOfBackend } from "../../model/types/names";
import type { ServerObservation } from "../haproxy/observation";
import { backendsOf, type Desired, routesOf } from "../state/desired";

type Observed = Record<string, Record<string, ServerObservation>>;

/**
 * Whether the backends of an edge have servers that take requests, those included that a frontend or route leads to and that
 * are not there.
 *
 * @param o.committed what holds once no transaction is open
 * @param o.offEdge ids of processes that get no traffic at the moment
 */
export function backendsHealth(
  edge: string,
  observed: Observed,
  { working, committed, offEdge }: { working: Desired; committed: Desired; offEdge: ReadonlySet<string> },
): Record<string, BackendHealth> {
  const all = backendsOf(working, edge);
  const wanted = backendsOf(working, edge, offEdge);
  const before = backendsOf(committed, edge);
  const targets = targetsOf(working, edge);
  const candidates = candidatesOf(working, edge);
  const names = [...new Set([...Object.keys(all), ...Object.keys(targets), ...Object.keys(candidates)])].toSorted();
  const healths = Object.fromEntries(
    names.map((name) => [
      name,
      healthOf(targets[name] ?? [], observed[name] ?? {}, {
        all: all[name]?.servers,
        wanted: wanted[name]?.servers,
        before: before[name]?.servers,
        titles: titlesOf(name, working.pools[poolOfBackend(name)]),
      }),
    ]),
  );
  for (const [name, health] of Object.entries(healths)) {
    if (candidates[name] !== undefined) health.candidateOf = candidates[name];
    if (all[name]?.share?.split === SPLIT_PARTS && takes(healths[candidateBackend(name)])) health.from = [];
  }
  // All of a route's requests are the candidate's, as long as that takes them.
  for (const [route, { stable, candidate = "", split }] of Object.entries(routesOf(working, edge))) {
    const health = healths[stable];
    if (health !== undefined && split === SPLIT_PARTS && takes(healths[candidate]))
      health.from = health.from.filter((from) => from !== `route ${route}`);
  }
  return healths;
}

function takes(health: BackendHealth | undefined): boolean {
  return health !== undefined && takesRequests(health);
}

/**
 * Frontends and routes that lead requests to the backends of an edge; candidates are left out, since the stable side takes
 * their requests when they can't.
 */
function targetsOf(desired: Desired, edge: string): Record<string, string[]> {
  const targets: Record<string, string[]> = {};
  const lead = (from: string, to: string) => {
    targets[to] = [...(targets[to] ?? []), from];
  };
  for (const [frontend, { defaultBackend }] of Object.entries(desired.edges[edge]?.frontends ?? {}))
    lead(`frontend ${frontend}`, defaultBackend);
  for (const [route, { stable }] of Object.entries(routesOf(desired, edge))) lead(`route ${route}`, stable);
  return targets;
}

/** Routes by the candidate that has a share of their requests. */
function candidatesOf(desired: Desired, edge: string): Record<string, string[]> {
  const candidates: Record<string, string[]> = {};
  for (const [route, { candidate, split }] of Object.entries(routesOf(desired, edge)))
    if (candidate !== undefined && split > 0) candidates[candidate] = [...(candidates[candidate] ?? []), route];
  return candidates;
}

/** The backends of an edge that requests are led to now. */
export function requestsLeadTo(desired: Desired, edge: string): string[] {
  return [...new Set([...Object.keys(targetsOf(desired, edge)), ...Object.keys(candidatesOf(desired, edge))])];
}

type Servers = Record<string, Server> | undefined;

function healthOf(
  from: string[],
  observed: Record<string, ServerObservation>,
  {
    all,
    wanted,
    before,
    titles,
  }: { all: Servers; wanted: Servers; before: Servers; titles: ReadonlyMap<string, string> },
): BackendHealth {
  const here = Object.entries(observed).filter(([, { leavingUntil }]) => leavingUntil === undefined);
  const seen = new Map(here.map(([id, server]) => [server.name ?? id, server]));
  const names = new Set([...Object.keys(all ?? {}), ...seen.keys()]);
  const servers = [...names].map((name) => ({
    name: titles.get(name) ?? name,
    ...serverHealth({ is: seen.get(name), wanted: wanted?.[name], before: before?.[name] }),
  }));
  const mendable = Object.entries(wanted ?? {}).some(
    ([name, { state, weight }]) => state === "ready" && weight > 0 && seen.get(name)?.operational !== "down",
  );
  return { from, declared: all !== undefined, servers, mendable };
}

interface Compared {
  is: ServerObservation | undefined;
  /** Nothing for one that is out of the traffic at the moment, or that nobody declared. */
  wanted: Server | undefined;
  /** As it was committed. */
  before: Server | undefined;
}

function serverHealth({ is, wanted, before }: Compared): Omit<ServerHealth, "name"> {
  if (is === undefined)
    return wanted === undefined
      ? { out: "out of the traffic for its restart" }
      : { out: "missing in HAProxy", differs: "is missing in HAProxy" };
  const out = outOf(is);
  const change = before?.state === wanted?.state ? "as declared" : "by a change that is under way";
  const by = is.state === wanted?.state ? change : "by hand";
  const differs = wanted === undefined ? "was added by hand" : differences(is, wanted);
  return {
    ...(out === undefined ? {} : { out: is.state === "ready" ? out : `${out} ${by}` }),
    ...(differs === "" ? {} : { differs }),
  };
}

function outOf({ state, weight, operational, check }: ServerObservation): string | undefined {
  if (state === "maint") return "in maintenance";
  if (state === "drain") return "draining";
  if (operational === "down") return `DOWN: ${check}`;
  return weight === 0 ? "weight 0" : undefined;
}

function differences(is: ServerObservation, wanted: Server): string {
  const address = hostPort(is.address, is.port);
  const declared = hostPort(wanted.address, wanted.port);
  return [
    ...(is.state === wanted.state ? [] : [`is in ${is.state}, not ${wanted.state}`]),
    ...(is.weight === wanted.weight ? [] : [`has weight ${is.weight}, not ${wanted.weight}`]),
    ...(address === declared ? [] : [`has address ${address}, not ${declared}`]),
    // Every server of ours has a check.
    ...(is.operational === "unchecked" ? ["is not health-checked"] : []),
  ].join(", ");
}

/** The replica keys of a pool's servers, by their names. */
function titlesOf(backend: string, state: PoolState | undefined): Map<string, string> {
  if (state === undefined) return new Map();
  const pool = poolOfBackend(backend);
  const instances = backend === pool ? servingInstances(pool, state) : candidateInstances(pool, state);
  return new Map(instances.map((instance) => [serverName(instance), instance.key]));
}
