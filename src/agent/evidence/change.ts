import { differences, flatten } from "../../model/evidence/differences";
import type { Change, EvidenceRecord, MeasuredSide } from "../../model/evidence/record";
import { SHADOW } from "../../model/gate/sli";
import { sameValue } from "../../model/pool/identity";
import type { Generation } from "../../model/pool/pool-generation";
import type { PoolState } from "../../model/pool/pool-state";
import type { Target } from "../../model/protocol/transaction";
import type { RouteSpec } from "../../model/route/route";
import { formatSplit, SPLIT_PARTS } from "../../model/route/split";
import { candidateBackend } from "../../model/types/names";
import type { Desired } from "../state/desired";

/** A transaction's change of the desired state, for people. */
export interface DescribedChange {
  changes: Change[];
  summary: EvidenceRecord["summary"];
  sides: MeasuredSide[];
  /** Why the requests of this change are not counted. */
  unmeasured: string | undefined;
  /** Candidate's share of the requests, in 1/10,000; nothing for a change that has no candidate. */
  split: number | undefined;
}

/** Environments may hold what only the app should know, whether it is declared as a secret or not. */
const HIDDEN = /(?:^|\.)env\.|^testers\.value$/;

/**
 * Compares a target in the desired states before a change and with it.
 *
 * @param changedServer server of a backend that the change drains and gives back, since its release is replaced
 */
export function describeChange(
  target: Target,
  before: Desired,
  after: Desired,
  changedServer?: string,
): DescribedChange {
  const changes = differences(flatten(declared(target, before)), flatten(declared(target, after)), (path) =>
    HIDDEN.test(path),
  );
  const sides = measuredSides(target, before, after, changedServer);
  const edges = [...new Set(sides.flatMap((side) => side.edges))];
  const metered = edges.filter((edge) => after.edges[edge]?.meter === true);
  return {
    changes,
    summary:
      changedServer === undefined
        ? summarize(target, before, after)
        : { from: `${changedServer} out`, to: `${changedServer} in` },
    sides: sides.map((side) => ({ ...side, edges: side.edges.filter((edge) => metered.includes(edge)) })),
    unmeasured: metered.length > 0 ? undefined : whyUnmeasured(edges),
    split: splitOf(target, after),
  };
}

function whyUnmeasured(edges: string[]): string {
  if (edges.length === 0) return "this change moves no requests";
  return `requests were not counted: ${edges.join(" and ")} ${edges.length === 1 ? "is" : "are"} not metered; declare the edge with "meter: true" for charts`;
}

/** A target as it is declared; nothing where it is not there. */
function declared(target: Target, { edges, backends, pools, routes }: Desired): unknown {
  const [kind, first = "", second = ""] = target.split("/");
  if (kind === "edge") return edges[first];
  if (kind === "backend") return backends[`${first}/${second}`];
  if (kind === "pool") return pools[first] && declaredPool(pools[first]);
  const route = routes[first];
  return route && { ...route, split: formatSplit(route.split) };
}

function declaredPool({ settings, next, current, candidate }: PoolState) {
  const shown = next ?? current;
  const { generation, share } = candidate ?? {};
  const own =
    generation === undefined || sameValue(generation.processes, shown?.processes) ? {} : declaredProcesses(generation);
  const candidateEntries = generation && {
    canary: { release: generation.release, ...own, ...share, split: formatSplit(share?.split ?? 0) },
  };
  return { release: shown?.release, ...settings, ...declaredProcesses(shown), ...candidateEntries };
}

function declaredProcesses(generation: Generation | undefined) {
  const processes = Object.entries(generation?.processes ?? {}).map(([name, { env, secretEnv, ...rest }]) => [
    name,
    { ...rest, env: { ...env, ...secretEnv } },
  ]);
  return { processes: Object.fromEntries(processes) };
}

function summarize(target: Target, before: Desired, after: Desired): EvidenceRecord["summary"] {
  const [kind, first = ""] = target.split("/");
  const shares = [before, after].map(({ routes }) => routes[first]?.mirror?.share);
  const mirrored = shares[0] !== shares[1];
  const words = (state: Desired): string | null => {
    const pool = state.pools[first];
    if (kind === "pool") return (pool?.next ?? pool?.current)?.release.id ?? null;
    if (kind === "route") return routeInWords(state.routes[first], mirrored);
    return declared(target, state) === undefined ? null : "there";
  };
  return { from: words(before), to: words(after) };
}

/** @param mirrored whether the share that is copied to a shadow changes */
function routeInWords(route: RouteSpec | undefined, mirrored: boolean): string | null {
  if (route === undefined) return null;
  const split = formatSplit(route.split);
  return mirrored ? `${split}, ${route.mirror?.share ?? "0%"} mirrored` : split;
}

function splitOf(target: Target, { pools, routes }: Desired): number | undefined {
  const [kind, first = ""] = target.split("/");
  const pool = pools[first];
  if (kind === "pool")
    return pool?.next !== undefined && pool.serving === "next" ? SPLIT_PARTS : (pool?.candidate?.share?.split ?? 0);
  return kind === "route" ? (routes[first]?.split ?? 0) : undefined;
}

function measuredSides(
  target: Target,
  before: Desired,
  after: Desired,
  changedServer: string | undefined,
): MeasuredSide[] {
  const [kind, first = "", second = ""] = target.split("/");
  if (kind === "edge") return [{ role: "all", label: "all requests", edges: [first] }];
  if (kind === "backend") {
    const all: MeasuredSide = { role: "all", label: `all of ${second}`, edges: [first], backend: second };
    if (changedServer === undefined) return [{ ...all, label: second }];
    return [all, { ...all, role: "candidate", label: `server ${changedServer}`, server: changedServer }];
  }
  if (kind === "route") {
    const route = after.routes[first] ?? before.routes[first];
    if (route === undefined) return [];
    const side = (role: MeasuredSide["role"], backend: string): MeasuredSide => {
      const release = after.pools[backend]?.current?.release.id;
      const label = release === undefined ? backend : `${backend} (${release})`;
      return { role, label, edges: route.edges, route: first, backend };
    };
    const mirror = after.routes[first]?.mirror ?? before.routes[first]?.mirror;
    return [
      side("stable", route.stable),
      ...(route.candidate === undefined ? [] : [side("candidate", route.candidate)]),
      ...(mirror === undefined ? [] : [{ ...side("shadow", mirror.to), backend: SHADOW }]),
    ];
  }
  const edges = [after.pools[first] ?? before.pools[first]].flatMap((pool) => pool?.settings.edge ?? []);
  const candidate = (after.pools[first]?.candidate ?? before.pools[first]?.candidate)?.generation.release.id;
  if (candidate !== undefined) {
    const stable = (before.pools[first] ?? after.pools[first])?.current?.release.id ?? first;
    return [
      { role: "stable", label: stable, edges, backend: first },
      { role: "candidate", label: candidate, edges, backend: candidateBackend(first) },
    ];
  }
  const [old, fresh] = [before.pools[first]?.current?.release.id, after.pools[first]?.next?.release.id];
  // Releases of the same id can't be told apart by it.
  if (old === fresh || fresh === undefined) return [{ role: "all", label: old ?? first, edges, backend: first }];
  return [
    ...(old === undefined ? [] : [{ role: "stable" as const, label: old, edges, backend: first, release: old }]),
    { role: "candidate", label: fresh, edges, backend: first, release: fresh },
  ];
}
