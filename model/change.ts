import type { PoolSpec, ProcessTemplate, Release } from "./pool";
import { candidateShare, candidateShareBefore, type PoolCanary } from "./pool-share";
import { templateIdentity } from "./pool-state";
import { formatSplit, type Percent, SPLIT_PARTS } from "./split";
import { type Staged, splitOf } from "./stages";

/**
 * What an update changes of a resource, as a policy is told: it sees new inputs alone. `create`: it is new. `promotion`: a
 * release, or traffic, goes forward. `rollback`: it goes back. `restart`: the same release starts anew, since its
 * processes changed. `none`: nothing of that.
 */
export type ChangeKind = "create" | "promotion" | "rollback" | "restart" | "none";

/** Releases whose order is kept. */
const MAX_ORDER = 50;

export interface PoolChange {
  kind: ChangeKind;
  /** Id of the release that was declared before; empty for a new pool. */
  from: string;
  to: string;
  /** Ids of releases in the order of their first promotion: a way back in it is a rollback. */
  order: string[];
  /** The share of the release that is tried beside it; left out where none is, and none was. */
  candidate?: {
    /** Empty where none is tried any more. */
    release: string;
    from: Percent;
    to: Percent;
  };
}

type Pool = Pick<PoolSpec, "release" | "processes"> & {
  canary?: PoolCanary | undefined;
  change?: Partial<PoolChange> | undefined;
};

/** @param before the pool as it was declared at the last update; undefined for a new one */
export function poolChange(before: Pool | undefined, after: Pool): PoolChange {
  const tried = candidateChange(before, after);
  const to = after.release.id;
  if (before === undefined) return { kind: "create", from: "", to, order: [to], ...tried };
  const from = before.release.id;
  const known = before.change?.order ?? [from];
  const order = known.includes(to) ? known : [...known, to].slice(-MAX_ORDER);
  const change = { from, to, order, ...tried };
  if (from === to) return { kind: startsAnew(before, after) ? "restart" : shareKind(before, after), ...change };
  return {
    kind: known.includes(to) && known.indexOf(to) < known.indexOf(from) ? "rollback" : "promotion",
    ...change,
  };
}

function candidateChange(before: Pool | undefined, after: Pool): Pick<PoolChange, "candidate"> {
  if (before?.canary === undefined && after.canary === undefined) return {};
  const from = after.canary === undefined ? candidateShare(before?.canary) : candidateShareBefore(before, after);
  return {
    candidate: {
      release: after.canary?.release.id ?? "",
      from: formatSplit(from),
      to: formatSplit(candidateShare(after.canary)),
    },
  };
}

/** Of a pool whose own release stays. */
function shareKind(before: Pool, after: Pool): ChangeKind {
  const to = candidateShare(after.canary);
  if (to > candidateShareBefore(before, after)) return "promotion";
  return to < candidateShare(before.canary) ? "rollback" : "none";
}

/** Whether a pool's release starts anew, since more than live settings of it changed. */
export function startsAnew(before: Pool, after: Pool): boolean {
  const names = [...new Set([...Object.keys(before.processes), ...Object.keys(after.processes)])];
  const isOther = (a: ProcessTemplate | undefined, b: ProcessTemplate | undefined) =>
    a === undefined || b === undefined || templateIdentity(a) !== templateIdentity(b);
  return (
    sourceOf(before.release) !== sourceOf(after.release) ||
    names.some((name) => isOther(before.processes[name], after.processes[name]))
  );
}

function sourceOf({ path, revision }: Release): string {
  return JSON.stringify([path, revision]);
}

export interface RouteChange {
  kind: ChangeKind;
  /** The candidate's share after the last update; `0%` for a new candidate. */
  from: Percent;
  to: Percent;
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
  stable: string;
  candidate?: string | undefined;
  change?: { stable?: RouteChange["stable"] | undefined } | undefined;
};

/** @param before the route as it was declared at the last update; undefined for a new one */
export function routeChange(before: Route | undefined, after: Route): RouteChange {
  const to = shareOf(after);
  if (before === undefined) {
    const stable = { from: "", to: after.stable, had: formatSplit(0), before: "" };
    return { kind: to > 0 ? "promotion" : "create", from: formatSplit(0), to: formatSplit(to), stable };
  }
  const from = shareBefore(before, after.candidate);
  const earlier = before.change?.stable?.before ?? "";
  const moved = before.stable !== after.stable;
  const had = before.candidate === after.stable ? shareOf(before) : 0;
  const stable = {
    from: before.stable,
    to: after.stable,
    had: formatSplit(moved ? had : SPLIT_PARTS - shareOf(before)),
    before: moved ? before.stable : earlier,
  };
  const change = { from: formatSplit(from), to: formatSplit(to), stable };
  if (moved && after.stable === earlier) return { kind: "rollback", ...change };
  if ((moved && had < SPLIT_PARTS) || to > from) return { kind: "promotion", ...change };
  return { kind: to < from ? "rollback" : "none", ...change };
}

/** Share that a backend had, whichever side it was on, in 1/10,000. */
function shareBefore(before: Route, backend: string | undefined): number {
  if (backend === undefined) return 0;
  if (backend === before.candidate) return shareOf(before);
  return backend === before.stable ? SPLIT_PARTS - shareOf(before) : 0;
}

/** The candidate's share that a route declares, in 1/10,000. */
function shareOf({ stages, stage, candidate }: Route): number {
  return candidate === undefined ? 0 : (splitOf(stages, stage) ?? 0);
}
