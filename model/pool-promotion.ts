import { milliseconds } from "./duration";
import { identityOf, sameValue } from "./identity";
import type { Generation, Runnable, TemplateState } from "./pool-generation";
import { replicaKeys } from "./pool-instances";
import { takesFromRange } from "./pool-ports";
import type { Fate, PoolShare } from "./pool-share";
import { orderOf, type PoolState, type SplitSpec } from "./pool-state";
import { orderAfter } from "./release-order";

/**
 * The steps of a promotion as pure functions on a pool: {@link begin} -> {@link switched} -> {@link followed} ->
 * {@link finished}. Nothing here touches the host.
 */

/** A pool that has never run anything. */
export function newPool(spec: SplitSpec): PoolState {
  return {
    settings: settingsOf(spec),
    serving: "current",
    singletonsOf: "current",
    services: {},
    retained: [],
    lastGeneration: 0,
  };
}

function settingsOf(spec: SplitSpec): PoolState["settings"] {
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

/** What a spec means for a pool: a new generation side by side, or the same one with other live settings. */
export function isNewGeneration(state: PoolState | undefined, spec: SplitSpec): boolean {
  return !isOf(state?.current, spec);
}

function isOf(side: Generation | undefined, what: Runnable): side is Generation {
  return side !== undefined && identityOf(side) === identityOf(what);
}

/**
 * The pool with the spec's release as candidate beside the current one.
 *
 * @param allocate gives a port for a replica key of a generation, or throws when the range is exhausted: the port that a
 *   process of this key and generation still holds (one that was scaled away and drains is wanted again as it is), else a free one
 * @param options.above highest generation whose processes are still on the host: an undone promotion leaves no trace in
 *   the state, but its processes may still be draining, and none of their ids may be given again
 * @param options.canary what to try beside it; what is tried already, and is to be the candidate now, becomes that with the
 *   processes that it has. @default none
 * @param options.down services that are down: they are the candidate's from its start, with the replicas that they have. @default none
 */
export function begin(
  state: PoolState,
  spec: SplitSpec,
  allocate: (key: string, generation: number) => number,
  {
    above = 0,
    canary,
    down = new Set(),
  }: { above?: number; canary?: Runnable | undefined; down?: ReadonlySet<string> } = {},
): PoolState {
  const tried = state.canary?.generation;
  let newest = Math.max(state.lastGeneration, above);
  const generationOf = ({ release, processes }: Runnable): Generation => {
    const known = [state.current, tried].find((side) => isOf(side, { release, processes }));
    if (known === undefined) newest += 1;
    const number = known?.number ?? newest;
    const ports = portKeys({ processes, strategy: spec.strategy }).map((key, index) => [
      key,
      spec.strategy === "in-place" ? spec.ports.from + index : (known?.ports[key] ?? allocate(key, number)),
    ]);
    return { number, release, processes, ports: Object.fromEntries(ports) };
  };
  const candidate = generationOf(spec);
  const beside = canary === undefined ? undefined : generationOf(canary);
  const begun = servicesOf(candidate).flatMap(([id, service]): [string, PoolState["services"][string]][] => {
    const before = state.services[id];
    if (before === undefined) return [[id, service]];
    const { replicas } = before.template;
    return down.has(id) ? [[id, { ...service, template: { ...service.template, replicas } }]] : [];
  });
  const { canary: before, withdrawn: _, ...rest } = state;
  // What becomes the candidate keeps its share until the switch.
  const kept = beside === undefined ? before?.generation.number === candidate.number : tried?.number === beside.number;
  const next = before !== undefined && kept ? { ...before, generation: beside ?? candidate } : undefined;
  const started = next ?? (beside === undefined ? undefined : { generation: beside });
  const leaves = tried !== undefined && ![candidate.number, beside?.number].includes(tried.number);
  return {
    ...rest,
    settings: settingsOf(spec),
    candidate,
    ...(started === undefined ? {} : { canary: started }),
    ...(leaves ? { outgoing: tried } : {}),
    services: { ...state.services, ...Object.fromEntries(begun) },
    lastGeneration: Math.max(state.lastGeneration, candidate.number, beside?.number ?? 0),
  };
}

/** Keys of the replicas that have a port of the range; in place, that of the proxied process is the first. */
function portKeys({ processes, strategy }: Pick<SplitSpec, "processes" | "strategy">): string[] {
  const place = ({ policy }: TemplateState) => (strategy === "in-place" && policy === "proxied" ? 0 : 1);
  return Object.entries(processes)
    .filter(([, template]) => takesFromRange(template))
    .toSorted(([, one], [, other]) => place(one) - place(other))
    .flatMap(([id, template]) => replicaKeys(id, template));
}

/** The pool with the edge's traffic on the candidate. */
export function switched(state: PoolState): PoolState {
  if (state.candidate === undefined) return state;
  return { ...state, serving: "candidate" };
}

/** The pool with service templates refreshed and singletons on the candidate's side. */
export function followed(state: PoolState): PoolState {
  if (state.candidate === undefined) return state;
  return { ...state, services: Object.fromEntries(servicesOf(state.candidate)), singletonsOf: "candidate" };
}

/** The pool with a share of its requests on the release that is tried. */
export function shared(state: PoolState, share: PoolShare): PoolState {
  const { canary } = state;
  if (canary === undefined || sameValue(canary.share, share)) return state;
  return { ...state, canary: { generation: canary.generation, share } };
}

/**
 * The pool without the release that is tried, which gets no more requests and runs until the commit.
 *
 * @param breach why it is not tried any more, where that is no choice
 */
export function withdrawn(state: PoolState, breach?: { why: string; at: Date }): PoolState {
  const { canary, ...rest } = state;
  if (canary === undefined) return state;
  const { generation } = canary;
  const note = breach && { release: generation.release.id, why: breach.why, at: breach.at.toISOString() };
  return { ...rest, outgoing: generation, ...(note === undefined ? {} : { withdrawn: note }) };
}

/** What becomes of the release that is tried, by what is declared. Nothing where none is tried. */
export function fateOfTried(
  state: PoolState | undefined,
  { spec, canary }: { spec: Runnable; canary?: Runnable | undefined },
): Fate | undefined {
  const tried = state?.canary?.generation;
  if (tried === undefined) return undefined;
  if (isOf(tried, spec)) return "serves";
  return canary !== undefined && isOf(tried, canary) ? "stays" : "ends";
}

/** The pool after its commit: the candidate is current, and the old release is retained within bounds. */
export function finished(state: PoolState, now: Date): PoolState {
  const { candidate, current, canary: tried, outgoing, ...rest } = state;
  if ([candidate, tried, outgoing].every((side) => side === undefined)) return state;
  const canary =
    tried === undefined || tried.generation.number === candidate?.number
      ? {}
      : { canary: { ...tried, since: tried.since ?? now.toISOString() } };
  if (candidate === undefined) return { ...rest, ...(current === undefined ? {} : { current }), ...canary };
  const left = current !== undefined && current.number !== candidate.number ? [retire(current, now)] : [];
  return {
    ...rest,
    ...canary,
    current: candidate,
    serving: "current",
    singletonsOf: "current",
    order: orderAfter(orderOf(state), candidate.release.id),
    retained: pruned([...left, ...state.retained], candidate.release.id, state.settings.retain, now),
  };
}

function retire({ release, number }: Generation, now: Date): PoolState["retained"][number] {
  return { release, generation: number, retiredAt: now.toISOString() };
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

/** Whether a pool's candidate takes it back to a release that it had before. */
export function isRollback({ candidate, retained }: PoolState): boolean {
  return candidate !== undefined && retained.some(({ release: { id } }) => id === candidate.release.id);
}
