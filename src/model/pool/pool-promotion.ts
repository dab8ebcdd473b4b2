import { milliseconds } from "../types/duration";
import { identityOf, sameValue } from "./identity";
import type { Generation, Runnable, TemplateState } from "./pool-generation";
import { replicaKeys } from "./pool-instances";
import { takesFromRange } from "./pool-ports";
import type { CandidateOutcome, PoolShare } from "./pool-share";
import { orderOf, type PoolState, type SpecWithoutSecrets } from "./pool-state";
import { orderAfter } from "./release-order";

/**
 * The steps of a promotion as pure functions on a pool: {@link begin} -> {@link switched} -> {@link followed} ->
 * {@link finished}. Nothing here touches the host.
 */

/** A pool that has never run anything. */
export function newPool(spec: SpecWithoutSecrets): PoolState {
  return {
    settings: settingsOf(spec),
    serving: "current",
    singletonsOf: "current",
    services: {},
    retained: [],
    lastGeneration: 0,
  };
}

function settingsOf(spec: SpecWithoutSecrets): PoolState["settings"] {
  const { strategy, edge, ports, balance, retry, drainDeadline, retain, takeover } = spec;
  return {
    strategy,
    ...(edge === undefined ? {} : { edge }),
    ports,
    balance,
    retry,
    drainDeadline,
    retain,
    ...(takeover === undefined ? {} : { takeover }),
  };
}

/** Whether a spec begins a new generation side by side, or keeps the current one with other live settings. */
export function isNewGeneration(state: PoolState | undefined, spec: SpecWithoutSecrets): boolean {
  return !isOf(state?.current, spec);
}

function isOf(generation: Generation | undefined, what: Runnable): generation is Generation {
  return generation !== undefined && identityOf(generation) === identityOf(what);
}

/**
 * The pool with the spec's release as the next one beside the current one.
 *
 * @param allocate gives a port for a replica key of a generation, or throws when the range is exhausted: the port that a
 *   process of this key and generation still holds (one that was scaled away and drains is wanted again as it is), else a free one
 * @param options.above highest generation whose processes are still on the host: an undone promotion leaves no trace in
 *   the state, but its processes may still be draining, and none of their ids may be given again
 * @param options.candidate the candidate beside it; a running one that is to be the next release becomes that with
 *   the processes that it has. @default none
 * @param options.down services that are down: they are the next release's from its start, with the replicas that they
 *   have. @default none
 */
export function begin(
  state: PoolState,
  spec: SpecWithoutSecrets,
  allocate: (key: string, generation: number) => number,
  {
    above = 0,
    candidate: declaredCandidate,
    down = new Set(),
  }: { above?: number; candidate?: Runnable | undefined; down?: ReadonlySet<string> } = {},
): PoolState {
  const candidateBefore = state.candidate?.generation;
  let newest = Math.max(state.lastGeneration, above);
  const generationOf = ({ release, processes }: Runnable): Generation => {
    const known = [state.current, candidateBefore].find((generation) => isOf(generation, { release, processes }));
    if (known === undefined) newest += 1;
    const number = known?.number ?? newest;
    const ports = portKeys({ processes, strategy: spec.strategy }).map((key, index) => [
      key,
      spec.strategy === "in-place" ? spec.ports.from + index : (known?.ports[key] ?? allocate(key, number)),
    ]);
    return { number, release, processes, ports: Object.fromEntries(ports) };
  };
  const next = generationOf(spec);
  const beside = declaredCandidate === undefined ? undefined : generationOf(declaredCandidate);
  const begun = servicesOf(next).flatMap(([id, service]): [string, PoolState["services"][string]][] => {
    const before = state.services[id];
    if (before === undefined) return [[id, service]];
    const { replicas } = before.template;
    return down.has(id) ? [[id, { ...service, template: { ...service.template, replicas } }]] : [];
  });
  const { candidate: before, withdrawn: _, ...rest } = state;
  // A candidate that becomes the next release keeps its share until the switch.
  const keepsShare =
    beside === undefined ? before?.generation.number === next.number : candidateBefore?.number === beside.number;
  const promotedCandidate = before !== undefined && keepsShare ? { ...before, generation: beside ?? next } : undefined;
  const startedCandidate = promotedCandidate ?? (beside === undefined ? undefined : { generation: beside });
  const leaves = candidateBefore !== undefined && ![next.number, beside?.number].includes(candidateBefore.number);
  return {
    ...rest,
    settings: settingsOf(spec),
    next,
    ...(startedCandidate === undefined ? {} : { candidate: startedCandidate }),
    ...(leaves ? { retiring: candidateBefore } : {}),
    services: { ...state.services, ...Object.fromEntries(begun) },
    lastGeneration: Math.max(state.lastGeneration, next.number, beside?.number ?? 0),
  };
}

/** Keys of the replicas that have a port of the range; in place, that of the proxied process is the first. */
function portKeys({ processes, strategy }: Pick<SpecWithoutSecrets, "processes" | "strategy">): string[] {
  const rank = ({ policy }: TemplateState) => (strategy === "in-place" && policy === "proxied" ? 0 : 1);
  return Object.entries(processes)
    .filter(([, template]) => takesFromRange(template))
    .toSorted(([, one], [, other]) => rank(one) - rank(other))
    .flatMap(([id, template]) => replicaKeys(id, template));
}

/** The pool with the edge's traffic on the next release. */
export function switched(state: PoolState): PoolState {
  if (state.next === undefined) return state;
  return { ...state, serving: "next" };
}

/** The pool with service templates refreshed and the next release's singletons. */
export function followed(state: PoolState): PoolState {
  if (state.next === undefined) return state;
  return { ...state, services: Object.fromEntries(servicesOf(state.next)), singletonsOf: "next" };
}

/** The pool with a share of its requests on the candidate. */
export function shared(state: PoolState, share: PoolShare): PoolState {
  const { candidate } = state;
  if (candidate === undefined || sameValue(candidate.share, share)) return state;
  return { ...state, candidate: { generation: candidate.generation, share } };
}

/**
 * The pool without its candidate, which gets no more requests and runs until the commit.
 *
 * @param breach why it ends, if that is no choice
 */
export function withdrawn(state: PoolState, breach?: { why: string; at: Date }): PoolState {
  const { candidate, ...rest } = state;
  if (candidate === undefined) return state;
  const { generation } = candidate;
  const note = breach && { release: generation.release.id, why: breach.why, at: breach.at.toISOString() };
  return { ...rest, retiring: generation, ...(note === undefined ? {} : { withdrawn: note }) };
}

/** Outcome of the running candidate by the declaration. Undefined if there is no candidate. */
export function candidateOutcome(
  state: PoolState | undefined,
  { spec, candidate: declared }: { spec: Runnable; candidate?: Runnable | undefined },
): CandidateOutcome | undefined {
  const candidate = state?.candidate?.generation;
  if (candidate === undefined) return undefined;
  if (isOf(candidate, spec)) return "serves";
  return declared !== undefined && isOf(candidate, declared) ? "stays" : "ends";
}

/** The pool after its commit: the next release is current, and the old one is retained within bounds. */
export function finished(state: PoolState, now: Date): PoolState {
  const { next, current, candidate: candidateBefore, retiring, ...rest } = state;
  if ([next, candidateBefore, retiring].every((generation) => generation === undefined)) return state;
  const candidate =
    candidateBefore === undefined || candidateBefore.generation.number === next?.number
      ? {}
      : { candidate: { ...candidateBefore, since: candidateBefore.since ?? now.toISOString() } };
  if (next === undefined) return { ...rest, ...(current === undefined ? {} : { current }), ...candidate };
  const left = current !== undefined && current.number !== next.number ? [retire(current, now)] : [];
  return {
    ...rest,
    ...candidate,
    current: next,
    serving: "current",
    singletonsOf: "current",
    order: orderAfter(orderOf(state), next.release.id),
    retained: pruned([...left, ...state.retained], next.release.id, state.settings.retain, now),
  };
}

function retire(generation: Generation, now: Date): PoolState["retained"][number] {
  const { release, number } = generation;
  return { release, generation: number, retiredAt: now.toISOString(), identity: identityOf(generation) };
}

/** Whether a release has served before, with the same processes but for what is live, and is kept since. */
export function hasServed(state: PoolState | undefined, what: Runnable): boolean {
  const wanted = identityOf(what);
  return state?.retained.some(({ identity }) => identity === wanted) ?? false;
}

/** Retained releases within their count and age, without the current one, each id once (the newest). */
function pruned(
  retained: PoolState["retained"],
  currentId: string,
  { count, age }: PoolState["settings"]["retain"],
  now: Date,
): PoolState["retained"] {
  const oldest = now.getTime() - milliseconds(age);
  const first = new Map<string, PoolState["retained"][number]>();
  for (const entry of retained) if (!first.has(entry.release.id)) first.set(entry.release.id, entry);
  first.delete(currentId);
  return [...first.values()].filter(({ retiredAt }) => Date.parse(retiredAt) >= oldest).slice(0, count);
}

function servicesOf({ release, number, processes }: Generation): [string, PoolState["services"][string]][] {
  return Object.entries(processes)
    .filter(([, { policy }]) => policy === "service")
    .map(([id, template]) => [id, { release, generation: number, template }]);
}

/** Whether a pool's next release takes it back to one that it had before. */
export function isRollback({ next, retained }: PoolState): boolean {
  return next !== undefined && retained.some(({ release: { id } }) => id === next.release.id);
}
