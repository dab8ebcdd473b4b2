import { fallsBack } from "../../model/edge/backend-health";
import type { Step } from "../../model/protocol/transaction";
import { isSameMatch, type RouteSpec } from "../../model/route/route";
import { parsePercent } from "../../model/route/split";
import type { PlanAnswer, RouteAnswer } from "../api/answers";
import type { StepProblem } from "../api/api-error";
import { ApiError } from "../api/api-error";
import { mirrorKey } from "../haproxy/config/mirror";
import { splitKey } from "../haproxy/config/routes";
import type { EdgeObservation } from "../haproxy/observation";
import type { Host } from "../host/host";
import { backendsOf, type Desired, routesOf } from "../state/desired";
import type { StepContext } from "./step-context";

type SetRoute = Extract<Step, { verb: "route.set" }>;

/** Gives a route to its edges, or takes it from them; all of them are asked before the first one changes. */
export async function setRoute(
  { host, overlay, setOverlay, phase }: StepContext,
  route: string,
  spec: RouteSpec | null,
): Promise<() => Promise<void>> {
  const before = host.working().routes[route];
  phase("switch", spec === null ? `route ${route} ends` : `route ${route}: ${spec.split / 100}% to the candidate`);
  setOverlay({ ...overlay, routes: { ...overlay.routes, [route]: spec } });
  const edges = [...new Set([...(before?.edges ?? []), ...(spec?.edges ?? [])])];
  return async () => {
    // The mirror must listen first, or the first copies are lost.
    if (spec?.mirror !== undefined || spec?.sample !== undefined) await host.mirrorReady();
    await Promise.all(edges.map((edge) => convergeEdge(host, edge, { mayBeDown: onlyReduces(before, spec) })));
  };
}

/** Whether the candidate only loses requests: then an edge that does not run holds nobody back, since it serves nobody. */
function onlyReduces(before: RouteSpec | undefined, after: RouteSpec | null): boolean {
  return before !== undefined && (after === null || after.split < before.split);
}

async function convergeEdge(host: Host, edge: string, { mayBeDown }: { mayBeDown: boolean }): Promise<void> {
  if (host.working().edges[edge] === undefined) return;
  try {
    await host.convergeEdge(edge);
  } catch (error) {
    // The agent goes on to start it, with the split that is wanted by then.
    if (!mayBeDown || host.haproxy(edge).runs()) throw error;
  }
}

/** Problems of a route on this host. */
export async function routeProblems(
  { route, spec }: SetRoute,
  host: Host,
  { preview }: { preview: boolean },
): Promise<StepProblem[]> {
  const working = host.working();
  const reduces = onlyReduces(working.routes[route], spec);
  const each = spec.edges.map(async (edge, index): Promise<StepProblem[]> => {
    const path = `edges[${index}]`;
    const declared = working.edges[edge];
    if (declared === undefined) {
      const known = Object.keys(working.edges).join(", ") || "none";
      const message = `edge ${edge} is not on this agent (it has ${known}): declare it, and make this depend on it`;
      return preview ? [] : [{ path, message }];
    }
    if (!preview && !reduces && !(await host.reconciler.isUp(edge)))
      return [{ path, message: `HAProxy of edge ${edge} does not run: see why in the agent's events, then try again` }];
    const unknown = (spec.match.frontends ?? []).filter((frontend) => declared.frontends[frontend] === undefined);
    const problems = [
      ...unknown.map((frontend) => ({
        path: "match.frontends",
        message: `${frontend} is not a frontend of edge ${edge}: it has ${Object.keys(declared.frontends).join(", ")}`,
      })),
      ...twins(route, spec, edge, working),
      ...(preview ? [] : unknownBackends(spec, edge, working)),
    ];
    if (problems.length > 0) return problems;
    try {
      await host
        .haproxy(edge)
        .check(declared, backendsOf(working, edge), { ...routesOf(working, edge), [route]: spec });
      return [];
    } catch (error) {
      if (reduces && !host.haproxy(edge).runs()) return [];
      return [{ path, message: (error as Error).message }];
    }
  });
  return (await Promise.all(each)).flat();
}

function twins(route: string, spec: RouteSpec, edge: string, working: Desired): StepProblem[] {
  return Object.entries(routesOf(working, edge)).flatMap(([name, other]) =>
    name !== route && isSameMatch(spec.match, other.match)
      ? [{ path: "match", message: `is the match of route ${name} on edge ${edge} already: make one of them differ` }]
      : [],
  );
}

/** Requests are sent to what exists only; a route whose backend goes later answers 503. */
function unknownBackends({ stable, candidate, mirror }: RouteSpec, edge: string, working: Desired): StepProblem[] {
  const known = Object.keys(backendsOf(working, edge));
  return Object.entries({ stable, candidate, "mirror.to": mirror?.to }).flatMap(([path, backend]) =>
    backend === undefined || known.includes(backend)
      ? []
      : [
          {
            path,
            message: `backend ${backend} is not on edge ${edge} (it has ${known.join(", ") || "none"}): declare it, and make this depend on it`,
          },
        ],
  );
}

/** Routes that send requests to a backend of an edge. */
export function routesTo(desired: Desired, edge: string, backend: string): string[] {
  return Object.entries(routesOf(desired, edge)).flatMap(([name, { stable, candidate, split, mirror }]) =>
    stable === backend || (candidate === backend && split > 0) || mirror?.to === backend ? [name] : [],
  );
}

/** Observes a route on each of its edges. */
export async function observeRoute(host: Host, name: string): Promise<RouteAnswer> {
  const spec = host.working().routes[name];
  if (spec === undefined) throw new ApiError(404, "not-found", `route ${name} is not on this agent`);
  const { mirror } = spec;
  const attempts = await Promise.all(
    spec.edges.map(async (edge) => {
      const observed = host.working().edges[edge] === undefined ? undefined : await host.haproxy(edge).observe();
      const split = spec.candidate === undefined ? undefined : { key: splitKey(name, spec), wanted: spec.split };
      const share = mirror && { key: mirrorKey(name, mirror), wanted: parsePercent(mirror.share) ?? 0 };
      const takesShare = spec.split > 0 && observed?.running === true;
      const health = takesShare ? host.backendsHealth(edge, observed)[spec.candidate ?? ""] : undefined;
      const isOnStable = health !== undefined && fallsBack(health);
      return { edge, split: shareOn(observed, split), mirror: shareOn(observed, share), isOnStable };
    }),
  );
  const { owners, routes, routesSince } = host.committed;
  const since = routesSince[name];
  return {
    name,
    owner: owners[`route/${name}`],
    spec,
    committed: routes[name]?.split ?? 0,
    since: since === undefined ? undefined : Date.parse(since),
    splits: Object.fromEntries(attempts.map(({ edge, split }) => [edge, split])),
    fallback: attempts.flatMap(({ edge, isOnStable }) => (isOnStable ? [edge] : [])),
    ...(mirror !== undefined && { mirrors: Object.fromEntries(attempts.map(({ edge, mirror }) => [edge, mirror])) }),
  };
}

/** The share that an edge's workers have: of those that differ, the one that is not as wanted. Without an entry in its map, a worker gives none. */
export function shareOn(
  observed: EdgeObservation | undefined,
  share: { key: string; wanted: number } | undefined,
): number | null {
  if (!observed?.running) return null;
  if (share === undefined) return 0;
  const current = observed.splits[share.key] ?? 0;
  const old = observed.oldWorkers.flatMap(({ splits }) => splits[share.key] ?? []);
  return [current, ...old].find((parts) => parts !== share.wanted) ?? current;
}

const ORDER: PlanAnswer["how"][] = ["nothing", "runtime", "reload", "start"];

/** Plans the effect of a route's step on the HAProxys of its edges. */
export async function planRoute(host: Host, { route, spec }: SetRoute): Promise<PlanAnswer> {
  const working = host.working();
  const plans = await Promise.all(
    spec.edges.map(async (edge): Promise<PlanAnswer> => {
      const declared = working.edges[edge];
      if (declared === undefined) return { how: "nothing", reasons: [`edge ${edge} is not on this agent yet`] };
      const routes = { ...routesOf(working, edge), [route]: spec };
      const plan = await host.haproxy(edge).plan(declared, backendsOf(working, edge), routes);
      return { ...plan, needs: unknownBackends(spec, edge, working).map(({ path, message }) => `${path}: ${message}`) };
    }),
  );
  const how = ORDER[Math.max(...plans.map((plan) => ORDER.indexOf(plan.how)))] ?? "nothing";
  const all = (part: "reasons" | "needs") => [...new Set(plans.flatMap((plan) => plan[part] ?? []))];
  return { how, reasons: all("reasons"), needs: all("needs") };
}
