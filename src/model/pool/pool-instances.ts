import type { ProcessTemplate } from "../process/process-template";
import type { Generation, TemplateState } from "./pool-generation";
import { generationsOf, isInPlace, type PoolState } from "./pool-state";
import type { Release } from "./release";

/** One process that should run. */
export interface Instance {
  /** Unique on the host: `<pool>.<generation>.<process>.<index>`, or `<pool>.service.<process>` (`.<index>` from 1 on). */
  id: string;
  /** Name inside its pool, for people: `web#0`, or `redis` for a singleton or a service. */
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
  // In place, the next release has taken the current one's place.
  const all = isInPlace(state) ? [state.next ?? state.current] : generationsOf(state);
  const generations = all.filter((generation) => generation !== undefined);
  const byId = new Map<string, Instance>();
  for (const policy of ["companion", "proxied"] as const)
    for (const generation of generations)
      for (const instance of replicas(pool, state, generation, policy)) byId.set(instance.id, instance);
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
  generation: Generation,
  policy: "companion" | "proxied" | "singleton",
): Instance[] {
  return Object.entries(generation.processes)
    .filter(([, template]) => template.policy === policy)
    .flatMap(([process, template]) =>
      replicaKeys(process, template).map((key, index) => ({
        id: `${pool}.${generation.number}.${process}.${index}`,
        key,
        pool,
        inPlace: isInPlace(state),
        process,
        generation: generation.number,
        release: generation.release,
        index,
        template,
        port: generation.ports[key],
        ports: portsByProcess(state, generation),
      })),
    );
}

function portsByProcess(state: PoolState, generation: Generation | undefined): Record<string, number> {
  const services = Object.entries(state.services).flatMap(([id, { template }]): [string, number][] =>
    typeof template.port === "number" ? [[id, template.port]] : [],
  );
  const own = Object.entries(generation?.processes ?? {}).flatMap(([id, template]): [string, number][] => {
    const port = generation?.ports[replicaKey(id, 0, template)];
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
  const generation = state[state.serving];
  return generation === undefined ? [] : replicas(pool, state, generation, "proxied");
}

/** The proxied replicas of the candidate. */
export function candidateInstances(pool: string, state: PoolState): Instance[] {
  return state.candidate === undefined ? [] : replicas(pool, state, state.candidate.generation, "proxied");
}
