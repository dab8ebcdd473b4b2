import { identityOf } from "../pool/identity";
import type { PoolSpec } from "../pool/pool";
import { candidateShare, candidateShareBefore, isFinishing, type PoolCanary } from "../pool/pool-share";
import { orderAfter } from "../pool/release-order";
import { formatSplit, type Percent, parsePercent, SPLIT_PARTS } from "../route/split";
import { positionOf, reached, STABLE, type Staged, type StagePosition } from "../route/stages";

/**
 * The kind of change that an update makes to a resource, computed for policies, which see new inputs only. `create`: it
 * is new. `promotion`: a release, or traffic, goes forward. `rollback`: it goes back. `restart`: the same release
 * starts anew, since its processes changed. `none`: nothing of that.
 */
export type ChangeKind = "create" | "promotion" | "rollback" | "restart" | "none";

export interface PoolChange {
  kind: ChangeKind;
  /** Id of the release that was declared before; empty for a new pool. */
  from: string;
  to: string;
  /** Ids of releases in the order of their first promotion: a way back in it is a rollback. */
  order: string[];
  /** The candidate's share; left out if there is none, and was none. */
  candidate?: {
    /** Empty if there is no candidate any more. */
    release: string;
    from: Percent;
    to: Percent;
    /** The share with which it became the pool's own release; left out where it does not. */
    finished?: Percent;
  };
}

type Pool = Pick<PoolSpec, "release" | "processes"> & {
  canary?: PoolCanary | undefined;
  change?: Partial<PoolChange> | undefined;
};

/** @param before the pool as its agent has it, or as it was declared at the last update; undefined for a new one */
export function poolChange(before: Pool | undefined, after: Pool): PoolChange {
  const candidate = candidateChange(before, after);
  const to = after.release.id;
  if (before === undefined) return { kind: "create", from: "", to, order: [to], ...candidate };
  const from = before.release.id;
  const known = before.change?.order ?? [from];
  const order = orderAfter(known, to);
  const change = { from, to, order, ...candidate };
  // A candidate may be of the same release with other processes, such as another environment.
  if (from === to && isFinishing(before, after)) return { kind: "promotion", ...change };
  if (from === to)
    return { kind: identityOf(before) === identityOf(after) ? shareKind(before, after) : "restart", ...change };
  const back = known.includes(to) && known.indexOf(to) < known.indexOf(from);
  // A release that never took all traffic is no target of a rollback, whatever it was declared beside.
  const startsCandidate = shareKind(before, after) === "promotion" && !known.includes(after.canary?.release.id ?? "");
  return { kind: back && !startsCandidate ? "rollback" : "promotion", ...change };
}

function candidateChange(before: Pool | undefined, after: Pool): Pick<PoolChange, "candidate"> {
  if (before?.canary === undefined && after.canary === undefined) return {};
  const from = after.canary === undefined ? candidateShare(before?.canary) : candidateShareBefore(before, after);
  return {
    candidate: {
      release: after.canary?.release.id ?? "",
      from: formatSplit(from),
      to: formatSplit(candidateShare(after.canary)),
      ...(isFinishing(before, after) && { finished: formatSplit(candidateShare(before?.canary)) }),
    },
  };
}

/** Of a pool whose own release stays. */
function shareKind(before: Pool, after: Pool): ChangeKind {
  const to = candidateShare(after.canary);
  if (to > candidateShareBefore(before, after)) return "promotion";
  return to < candidateShare(before.canary) ? "rollback" : "none";
}

export interface RouteChange {
  kind: ChangeKind;
  /** The candidate's share after the last update; `0%` for a new candidate. */
  from: Percent;
  to: Percent;
  /** Names of the stages that it goes from and to; empty where its share alone is known. Several may have the share `0%`. */
  stage: { from: string; to: string };
  /** Share of the requests that is copied to its mirror; `0%` for a new one, and where there is none. */
  mirrored: { from: Percent; to: Percent };
  stable: {
    /** The stable backend that was declared before; empty for a new route. */
    from: string;
    to: string;
    /** Share of the requests that the new stable backend had before, as the candidate. */
    had: Percent;
    /** The stable backend before the last one: going back to it is a rollback. Empty where there was none. */
    before: string;
  };
}

type Route = Pick<Staged, "stages" | "stage"> & {
  /** Current position, for a route that an agent has. @default what its stage says */
  position?: StagePosition;
  stable: string;
  candidate?: string | undefined;
  mirror?: { to: string; share: Percent } | undefined;
  change?: { stable?: Pick<RouteChange["stable"], "before"> | undefined } | undefined;
};

/** @param before the route as its agent has it, or as it was declared at the last update; undefined for a new one */
export function routeChange(before: Route | undefined, after: Route): RouteChange {
  const to = positionAt(after);
  const from = positionBefore(before, after);
  const mirrored = [before?.mirror?.to === after.mirror?.to ? mirroredOf(before) : 0, mirroredOf(after)] as const;
  const named = {
    from: formatSplit(from.split),
    to: formatSplit(to.split),
    stage: { from: from.stage ?? "", to: to.stage ?? "" },
    mirrored: { from: formatSplit(mirrored[0]), to: formatSplit(mirrored[1]) },
  };
  if (before === undefined) {
    const stable = { from: "", to: after.stable, had: formatSplit(0), before: "" };
    const forward = reached(after.stages, to) >= 0 || mirrored[1] > 0;
    return { kind: forward ? "promotion" : "create", ...named, stable };
  }
  const earlier = before.change?.stable?.before ?? "";
  const moved = before.stable !== after.stable;
  const had = before.candidate === after.stable ? positionAt(before).split : 0;
  const stable = {
    from: before.stable,
    to: after.stable,
    had: formatSplit(moved ? had : SPLIT_PARTS - positionAt(before).split),
    before: moved ? before.stable : earlier,
  };
  const change = { ...named, stable };
  if (moved && after.stable === earlier) return { kind: "rollback", ...change };
  if (moved && had < SPLIT_PARTS) return { kind: "promotion", ...change };
  // The candidate's requests decide, then its stage, then what is copied to a shadow.
  const direction =
    to.split - from.split || reached(after.stages, to) - reached(after.stages, from) || mirrored[1] - mirrored[0];
  return { kind: direction > 0 ? "promotion" : direction < 0 ? "rollback" : "none", ...change };
}

/** Position of the declared candidate before the update, on either side. */
function positionBefore(before: Route | undefined, { candidate }: Route): StagePosition {
  const none = { split: 0, stage: STABLE };
  if (before === undefined || candidate === undefined) return none;
  const position = positionAt(before);
  if (candidate === before.candidate) return position;
  return candidate === before.stable && position.split < SPLIT_PARTS ? { split: SPLIT_PARTS - position.split } : none;
}

/** Position that a route declares for its candidate. */
function positionAt({ stages, stage, candidate, position }: Route): StagePosition {
  if (position !== undefined) return position;
  return (candidate === undefined ? undefined : positionOf(stages, stage)) ?? { split: 0, stage: STABLE };
}

/** Share of the requests that a route declares to be copied, in 1/10,000. */
export function mirroredOf(route: Pick<Route, "stages" | "stage" | "mirror"> | undefined): number {
  if (route?.mirror === undefined) return 0;
  const own = route.stages.find(({ name }) => name === route.stage)?.mirror;
  return parsePercent(own ?? route.mirror.share) ?? 0;
}
