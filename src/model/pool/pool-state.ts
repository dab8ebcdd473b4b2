import { z } from "zod";
import { releaseId } from "../types/names";
import { type PoolSpec, poolSpec } from "./pool";
import { type Generation, generation, type TemplateState, templateState } from "./pool-generation";
import { poolShare } from "./pool-share";
import { release } from "./release";

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
  /** The generation that serves. */
  current: generation.optional(),
  /** The generation that is being promoted, inside a transaction only. */
  next: generation.optional(),
  /** The candidate beside the serving release, and its share of the requests. */
  candidate: z
    .strictObject({
      generation,
      /** Absent until it takes part. */
      share: poolShare.optional(),
      /** Since when its share has been as it is. */
      since: z.iso.datetime().optional(),
    })
    .optional(),
  /** A former {@link candidate}, which runs until the commit so that an undo finds it, inside a transaction only. */
  retiring: generation.optional(),
  /** A candidate that a breach ended, until the next one begins. */
  withdrawn: z.strictObject({ release: releaseId, why: z.string(), at: z.iso.datetime() }).optional(),
  /** Generation that takes the edge's traffic. */
  serving: z.enum(["current", "next"]),
  /** Generation whose singletons run. */
  singletonsOf: z.enum(["current", "next"]),
  /** The service processes, each with the newest good release's template. */
  services: z.record(z.string(), z.strictObject({ release, generation: z.int(), template: templateState })),
  /** Ids of its releases in the order of their first promotion. @default of before that was kept: what is retained, then the current one */
  order: z.array(releaseId).optional(),
  /** Old releases kept as targets for a rollback, newest first. */
  retained: z.array(
    z.strictObject({
      release,
      generation: z.int(),
      retiredAt: z.iso.datetime(),
      /** The release with its processes as they served, as a text to compare. @default of before that was kept: unknown */
      identity: z.string().optional(),
    }),
  ),
  /** Highest generation number that was ever used. */
  lastGeneration: z.int().min(0),
});
export type PoolState = z.output<typeof poolState>;

/** A pool spec as the agent gets it: secret environment values taken out. */
export type SpecWithoutSecrets = Omit<PoolSpec, "processes"> & { processes: Record<string, TemplateState> };

/** Ids of a pool's releases in the order of their first promotion. */
export function orderOf({ order, retained, current }: PoolState): string[] {
  const ids = retained.toReversed().map(({ release: { id } }) => id);
  return order ?? [...ids, ...(current === undefined ? [] : [current.release.id])];
}

/** All generations that run, the promoted one last: if one appears twice, the later settings hold. */
export function generationsOf({ current, next, candidate, retiring }: PoolState): Generation[] {
  return [current, retiring, candidate?.generation, next].filter((generation) => generation !== undefined);
}

export function isInPlace({ settings: { strategy } }: Pick<PoolState, "settings">): boolean {
  return strategy === "in-place";
}

/** Every port of the pool's range that is in use, with its user. */
export function takenPorts(state: PoolState): { port: number; key: string; release: string; generation: number }[] {
  return generationsOf(state).flatMap((generation) =>
    Object.entries(generation.ports).map(([key, port]) => ({
      port,
      key,
      release: generation.release.id,
      generation: generation.number,
    })),
  );
}
