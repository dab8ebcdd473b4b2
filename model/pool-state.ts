import { z } from "zod";
import { backendSpec, DEFAULT_WEIGHT } from "./backend";
import { milliseconds } from "./duration";
import { identityOf, sameValue } from "./identity";
import { releaseId } from "./names";
import { type PoolSpec, type ProcessTemplate, poolSpec, type Release, release, takesFromRange } from "./pool";
import { type EdgeBackend, type Fate, type PoolShare, poolShare, shareKey } from "./pool-share";

/**
 * A pool as its agent holds it, and the steps of a promotion as pure functions on it:
 * {@link begin} -> {@link switched} -> {@link followed} -> {@link finished}. Nothing here touches the host.
 */

const templateState = poolSpec.shape.processes.valueType.extend({
  /** Names of secret environment variables, each with a keyed digest of its value; the values are kept apart. */
  secretEnv: z.record(z.string(), z.string()).default({}),
});
export type TemplateState = z.output<typeof templateState>;

/** What a generation is made of: a release, and the processes that run of it. */
export interface Runnable {
  release: Release;
  processes: Record<string, TemplateState>;
}

const generation = z.strictObject({
  /** Counts the promotions of this pool; part of process ids and server names. */
  number: z.int().min(1),
  release,
  processes: z.record(z.string(), templateState),
  /** Ports by replica key, such as `web#0`. */
  ports: z.record(z.string(), z.int()),
});
export type Generation = z.output<typeof generation>;

const settings = z.strictObject({
  strategy: poolSpec.shape.strategy,
  edge: poolSpec.shape.edge,
  ports: poolSpec.shape.ports,
  balance: poolSpec.shape.balance,
  retry: poolSpec.shape.retry,
  drainDeadline: poolSpec.shape.drainDeadline,
  retain: poolSpec.shape.retain,
  takeover: poolSpec.shape.takeover,
});

export const poolState = z.strictObject({
  settings,
  /** What serves. */
  current: generation.optional(),
  /** What is being promoted, inside a transaction only. */
  candidate: generation.optional(),
  /** A release that is tried beside what serves, and the share of the requests that it takes. */
  canary: z
    .strictObject({
      generation,
      /** Nothing until it takes part. */
      share: poolShare.optional(),
      /** Since when its share has been as it is. */
      since: z.iso.datetime().optional(),
    })
    .optional(),
  /** A former {@link canary}, which runs until the commit so that an undo finds it, inside a transaction only. */
  outgoing: generation.optional(),
  /** A release whose trial ended in a breach, until the next one begins. */
  withdrawn: z.strictObject({ release: releaseId, why: z.string(), at: z.iso.datetime() }).optional(),
  /** Which side takes the edge's traffic. */
  serving: z.enum(["current", "candidate"]),
  /** Which side's singletons run. */
  singletonsOf: z.enum(["current", "candidate"]),
  /** The service processes, each with the newest good release's template. */
  services: z.record(z.string(), z.strictObject({ release, generation: z.int(), template: templateState })),
  /** Old releases kept as targets for a rollback, newest first. */
  retained: z.array(z.strictObject({ release, generation: z.int(), retiredAt: z.iso.datetime() })),
  /** Highest generation number that was ever used. */
  lastGeneration: z.int().min(0),
});
export type PoolState = z.output<typeof poolState>;

/** One process that should run. */
export interface Instance {
  /** Unique on the host: `<pool>.<generation>.<process>.<index>`, or `<pool>.service.<process>` (`.<index>` from 1 on). */
  id: string;
  /** What people call it inside its pool: `web#0`, or `redis` for a singleton or a service. */
  key: string;
  pool: string;
  /** Whether its predecessor has to be gone before it starts. */
  inPlace: boolean;
  process: string;
  generation: number;
  release: Release;
  index: number;
  template: TemplateState;
  port?: number | undefined;
  /** Ports of the pool's processes by name. */
  ports: Record<string, number>;
}

/** A pool spec as the agent gets it: secret environment values taken out. */
export type SplitSpec = Omit<PoolSpec, "processes"> & { processes: Record<string, TemplateState> };

/** The key of a replica, such as `web#0`; a singleton and a service of which there is one have their plain name. */
export function replicaKey(
  process: string,
  index: number,
  { policy, replicas }: Pick<ProcessTemplate, "policy" | "replicas">,
): string {
  const single = policy === "singleton" || (policy === "service" && replicas === 1);
  return single ? process : `${process}#${index}`;
}

/** Keys of all replicas of a process. */
export function replicaKeys(process: string, template: Pick<ProcessTemplate, "policy" | "replicas">): string[] {
  return Array.from({ length: template.replicas }, (_, index) => replicaKey(process, index, template));
}

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

function isInPlace({ settings: { strategy } }: Pick<PoolState, "settings">): boolean {
  return strategy === "in-place";
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

/** Every process that should run, in the order in which they start: services, companions, proxied, singletons. */
export function instancesOf(pool: string, state: PoolState): Instance[] {
  const services = Object.entries(state.services).flatMap(([process, { release, generation: number, template }]) =>
    replicaKeys(process, template).map((key, index) => ({
      id: serviceId(pool, process, { generation: number, template }, index),
      key,
      pool,
      inPlace: isInPlace(state),
      process,
      generation: number,
      release,
      index,
      template,
      port: typeof template.port === "number" ? template.port : undefined,
      ports: portsByProcess(state, undefined),
    })),
  );
  // In place, the candidate has taken the current one's place.
  const all = isInPlace(state) ? [state.candidate ?? state.current] : sidesOf(state);
  const sides = all.filter((side) => side !== undefined);
  const byId = new Map<string, Instance>();
  for (const policy of ["companion", "proxied"] as const)
    for (const side of sides)
      for (const instance of replicas(pool, state, side, policy)) byId.set(instance.id, instance);
  const lead = state[state.singletonsOf];
  const singletons = lead === undefined ? [] : replicas(pool, state, lead, "singleton");
  return [...services, ...byId.values(), ...singletons];
}

/** A service keeps its id, and so runs on, across releases, unless each release has its own. */
function serviceId(
  pool: string,
  process: string,
  { generation: number, template }: Pick<PoolState["services"][string], "generation" | "template">,
  index: number,
): string {
  if (template.handoff) return `${pool}.${number}.${process}.${index}`;
  return index === 0 ? `${pool}.service.${process}` : `${pool}.service.${process}.${index}`;
}

/** All generations that run, what is promoted last: of one that is there twice, its settings hold. */
export function sidesOf({ current, candidate, canary, outgoing }: PoolState): Generation[] {
  return [current, outgoing, canary?.generation, candidate].filter((side) => side !== undefined);
}

/** The replicas of one generation with one policy. */
function replicas(
  pool: string,
  state: PoolState,
  side: Generation,
  policy: "companion" | "proxied" | "singleton",
): Instance[] {
  return Object.entries(side.processes)
    .filter(([, template]) => template.policy === policy)
    .flatMap(([process, template]) =>
      replicaKeys(process, template).map((key, index) => ({
        id: `${pool}.${side.number}.${process}.${index}`,
        key,
        pool,
        inPlace: isInPlace(state),
        process,
        generation: side.number,
        release: side.release,
        index,
        template,
        port: side.ports[key],
        ports: portsByProcess(state, side),
      })),
    );
}

function portsByProcess(state: PoolState, side: Generation | undefined): Record<string, number> {
  const services = Object.entries(state.services).flatMap(([id, { template }]): [string, number][] =>
    typeof template.port === "number" ? [[id, template.port]] : [],
  );
  const own = Object.entries(side?.processes ?? {}).flatMap(([id, template]): [string, number][] => {
    const port = side?.ports[replicaKey(id, 0, template)];
    return port === undefined ? [] : [[id, port]];
  });
  return Object.fromEntries([...services, ...own]);
}

/** Name of a proxied replica's server in HAProxy: `web-7-0`. */
export function serverName({
  process,
  generation: number,
  index,
}: Pick<Instance, "process" | "generation" | "index">): string {
  return `${process}-${number}-${index}`;
}

/** Whether a pool's candidate takes it back to a release that it had before. */
export function isRollback({ candidate, retained }: PoolState): boolean {
  return candidate !== undefined && retained.some(({ release: { id } }) => id === candidate.release.id);
}

/** The proxied replicas that take the edge's traffic. */
export function servingInstances(pool: string, state: PoolState): Instance[] {
  const side = state[state.serving];
  return side === undefined ? [] : replicas(pool, state, side, "proxied");
}

/** Every port of the pool's range that is in use, with its user. */
export function takenPorts(state: PoolState): { port: number; key: string; release: string; generation: number }[] {
  return sidesOf(state).flatMap((side) =>
    Object.entries(side.ports).map(([key, port]) => ({ port, key, release: side.release.id, generation: side.number })),
  );
}

/** The proxied replicas of the release that is tried. */
export function canaryInstances(pool: string, state: PoolState): Instance[] {
  return state.canary === undefined ? [] : replicas(pool, state, state.canary.generation, "proxied");
}

/** The share of the requests that goes to the release that is tried; nothing where all go to one. */
export function shareIn(pool: string, state: PoolState): EdgeBackend["share"] {
  const serving = state[state.serving];
  const { share, generation: tried } = state.canary ?? {};
  if (serving === undefined || share === undefined || tried === undefined || tried.number === serving.number)
    return undefined;
  return { ...share, key: shareKey(pool, serving.number, tried.number) };
}

/**
 * The backend of a pool: its proxied replicas on the loopback address, with HAProxy's check on the same health path, as patient.
 *
 * @param without ids of replicas that get no traffic at the moment
 * @param side the replicas. @default those that serve
 */
export function backendOf(
  pool: string,
  state: PoolState,
  without: ReadonlySet<string> = new Set(),
  side: Instance[] = servingInstances(pool, state),
): EdgeBackend {
  const { path, timeout, fall } = side[0]?.template.health ?? {};
  const instances = side.filter(({ id }) => !without.has(id));
  return backendSpec.parse({
    balance: state.settings.balance,
    retry: state.settings.retry,
    drainDeadline: state.settings.drainDeadline,
    ...(path === undefined ? {} : { health: { path, timeout, fall } }),
    servers: Object.fromEntries(
      instances.map((instance) => [
        serverName(instance),
        { address: "127.0.0.1", port: instance.port ?? 0, weight: DEFAULT_WEIGHT, state: "ready" },
      ]),
    ),
  });
}

/** The release of one of a pool's servers, by the generation in its name; nothing for names and generations that are not known. */
export function releaseOfServer(state: PoolState, server: string): string | undefined {
  const number = Number(/-(\d+)-\d+(?:\.\d+)?$/.exec(server)?.[1]);
  const side = sidesOf(state).find((each) => each.number === number);
  if (side !== undefined) return side.release.id;
  return state.retained.find(({ generation: kept }) => kept === number)?.release.id;
}
