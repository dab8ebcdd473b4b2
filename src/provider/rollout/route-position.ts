import { isDeepStrictEqual } from "node:util";
import type { RouteAnswer } from "../../agent/api/answers";
import { type DeclaredRoute, routeAt } from "../../model/route/route";
import { formatSplit, SPLIT_PARTS } from "../../model/route/split";
import { planRollout, positionOf, type Rollout, STABLE, type StagePosition } from "../../model/route/stages";

/** A route as each of its agents has it. */
type RouteAnswers = readonly (RouteAnswer | undefined)[];

/**
 * The rollout of a route from its position on the agents to the declared stage; a new candidate begins without
 * requests.
 */
export function rolloutFrom(now: RouteAnswers, declared: DeclaredRoute): Rollout {
  return planRollout(declared.stages, currentPosition(now, declared), declared.stage);
}

/** Position of the declared candidate now, on either side. */
function currentPosition(now: RouteAnswers, { candidate }: DeclaredRoute): StagePosition {
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
function lowestShare(now: readonly RouteAnswer[], backend: string | undefined): number {
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
export function replacementProblem(now: RouteAnswers, declared: DeclaredRoute): string | undefined {
  const { stable } = declared;
  const known = now.filter((answer) => answer !== undefined);
  const to = positionOf(declared.stages, declared.stage)?.split ?? 0;
  const gets = SPLIT_PARTS - Math.min(currentPosition(now, declared).split, to);
  if (known.some(({ spec }) => spec.candidate === stable)) {
    const has = lowestShare(known, stable);
    if (has >= gets) return undefined;
    return `${stable} can't become the stable side yet: as the candidate it has ${formatSplit(has)} of the requests, and would have ${formatSplit(gets)} at once, without gates; go to its last stage first, with 100%`;
  }
  const loaded = known.flatMap((answer) => {
    const { candidate } = answer.spec;
    const share = candidate === undefined ? 0 : shareOf(answer, candidate);
    return share === 0 ? [] : [{ candidate, share: formatSplit(share), stable: answer.spec.stable }];
  })[0];
  if (loaded === undefined) return undefined;
  const { candidate, share } = loaded;
  const first = `go to stage "${STABLE}" first, or make ${candidate} the stable side once it has 100%`;
  if (stable !== loaded.stable && gets > 0)
    return `${stable} can't become the stable side now: ${candidate} is the candidate with ${share} of the requests, and ${formatSplit(gets)} would go to ${stable} at once, without gates; ${first}`;
  if (candidate !== declared.candidate && to > 0)
    return `${declared.candidate} can't become the candidate now: ${candidate} has ${share} of the requests and would lose them at once; ${first}`;
  return undefined;
}

/**
 * Since when a route has been on all of its agents as it is declared, but for its place; undefined if it is not yet.
 *
 * @param edges the route's edges on each agent
 */
export function unchangedSince(
  now: RouteAnswers,
  declared: DeclaredRoute,
  edges: readonly string[][],
): number | undefined {
  if (now.some((answer, index) => differs(answer, declared, edges[index] ?? []))) return undefined;
  const since = now.flatMap((answer) => answer?.since ?? []);
  return since.length === now.length ? Math.max(...since) : undefined;
}

/** Whether anything about a route on an agent but its place is not as it is declared. */
export function differs(now: RouteAnswer | undefined, declared: DeclaredRoute, edges: string[]): boolean {
  if (now === undefined) return true;
  const { split, stage } = now.spec;
  return !isDeepStrictEqual({ ...routeAt(declared, { split, stage }), edges }, now.spec);
}
