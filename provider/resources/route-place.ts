import { isDeepStrictEqual } from "node:util";
import type { RouteAnswer } from "../../agent/api";
import { type DeclaredRoute, routeAt } from "../../model/route";
import { formatSplit, SPLIT_PARTS } from "../../model/split";
import { type Place, placeOf, planWalk, STABLE, type Walk } from "../../model/stages";

/** Where a route is on its agents, and what a declared one makes of that. */
type Now = readonly (RouteAnswer | undefined)[];

/** The way from how a route is on its agents to its declared stage; a candidate that is new begins without requests. */
export function walkFrom(now: Now, declared: DeclaredRoute): Walk {
  return planWalk(declared.stages, placeNow(now, declared), declared.stage);
}

/** Where the declared candidate is now, whichever side it is on. */
function placeNow(now: Now, { candidate }: DeclaredRoute): Place {
  // An agent whose edges are new follows the others.
  const known = now.filter((answer) => answer !== undefined);
  const split = lowestShare(known, candidate);
  const named = new Set(known.map(({ spec }) => (spec.candidate === candidate ? spec.stage : undefined)));
  const [stage] = named;
  if (named.size === 1 && stage !== undefined) return { split, stage };
  return split === 0 ? { split, stage: STABLE } : { split };
}

/**
 * Share of the requests that a backend has, in 1/10,000: what was committed or, where somebody took some off it by hand, what is
 * left of it; of all agents the least.
 */
export function lowestShare(now: readonly RouteAnswer[], backend: string | undefined): number {
  return now.length === 0 || backend === undefined ? 0 : Math.min(...now.map((answer) => shareOf(answer, backend)));
}

function shareOf({ spec, committed, splits }: RouteAnswer, backend: string): number {
  const all = [committed, ...Object.values(splits).filter((split) => split !== null)];
  if (backend === spec.candidate) return Math.min(...all);
  return backend === spec.stable ? SPLIT_PARTS - Math.max(...all) : 0;
}

/**
 * Why a route's backends can't be what is declared: requests would go elsewhere at once, without gates, and the declared stage does
 * not say so. That is so while a candidate has some of them, and for one that is to have all. Nothing where that is not so.
 */
export function replacementProblem(now: Now, declared: DeclaredRoute): string | undefined {
  const { stable } = declared;
  const known = now.filter((answer) => answer !== undefined);
  const to = placeOf(declared.stages, declared.stage)?.split ?? 0;
  const gets = SPLIT_PARTS - Math.min(placeNow(now, declared).split, to);
  if (known.some(({ spec }) => spec.candidate === stable)) {
    const has = lowestShare(known, stable);
    if (has >= gets) return undefined;
    return `${stable} can't become the stable side yet: as the candidate it has ${formatSplit(has)} of the requests, and would have ${formatSplit(gets)} at once, without gates; go to its last stage first, with 100%`;
  }
  const tried = known.flatMap((answer) => {
    const { candidate } = answer.spec;
    const share = candidate === undefined ? 0 : shareOf(answer, candidate);
    return share === 0 ? [] : [{ candidate, share: formatSplit(share), stable: answer.spec.stable }];
  })[0];
  if (tried === undefined) return undefined;
  const { candidate, share } = tried;
  const first = `go to stage "${STABLE}" first, or make ${candidate} the stable side once it has 100%`;
  if (stable !== tried.stable && gets > 0)
    return `${stable} can't become the stable side now: ${candidate} is the candidate with ${share} of the requests, and ${formatSplit(gets)} would go to ${stable} at once, without gates; ${first}`;
  if (candidate !== declared.candidate && to > 0)
    return `${declared.candidate} can't become the candidate now: ${candidate} has ${share} of the requests and would lose them at once; ${first}`;
  return undefined;
}

/**
 * Since when a route has been on all of its agents as it is declared, but for its place; nothing where it is not yet.
 *
 * @param edges the route's edges on each agent
 */
export function heldBy(now: Now, declared: DeclaredRoute, edges: readonly string[][]): number | undefined {
  if (now.some((answer, index) => isNew(answer, declared, edges[index] ?? []))) return undefined;
  const since = now.flatMap((answer) => answer?.since ?? []);
  return since.length === now.length ? Math.max(...since) : undefined;
}

/** Whether anything about a route on an agent but its place is not as it is declared. */
export function isNew(now: RouteAnswer | undefined, declared: DeclaredRoute, edges: string[]): boolean {
  if (now === undefined) return true;
  const { split, stage } = now.spec;
  return !isDeepStrictEqual({ ...routeAt(declared, { split, stage }), edges }, now.spec);
}
