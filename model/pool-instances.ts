import type { Generation, TemplateState } from "./pool-generation";
import { isInPlace, type PoolState, sidesOf } from "./pool-state";
import type { ProcessTemplate } from "./process-template";
import type { Release } from "./release";

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

/** The key of a replica, such as `web#0`; a singleton and a service of which there is one have their plain name. */
function replicaKey(
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

/** The proxied replicas that take the edge's traffic. */
export function servingInstances(pool: string, state: PoolState): Instance[] {
  const side = state[state.serving];
  return side === undefined ? [] : replicas(pool, state, side, "proxied");
}

/** The proxied replicas of the release that is tried. */
export function canaryInstances(pool: string, state: PoolState): Instance[] {
  return state.canary === undefined ? [] : replicas(pool, state, state.canary.generation, "proxied");
}
