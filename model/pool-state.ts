import { z } from "zod";
import { releaseId } from "./names";
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
  /** Ids of its releases in the order of their first promotion. @default of before that was kept: what is retained, then the current one */
  order: z.array(releaseId).optional(),
  /** Old releases kept as targets for a rollback, newest first. */
  retained: z.array(z.strictObject({ release, generation: z.int(), retiredAt: z.iso.datetime() })),
  /** Highest generation number that was ever used. */
  lastGeneration: z.int().min(0),
});
export type PoolState = z.output<typeof poolState>;

/** A pool spec as the agent gets it: secret environment values taken out. */
export type SplitSpec = Omit<PoolSpec, "processes"> & { processes: Record<string, TemplateState> };

/** Ids of a pool's releases in the order of their first promotion. */
export function orderOf({ order, retained, current }: PoolState): string[] {
  const ids = retained.toReversed().map(({ release: { id } }) => id);
  return order ?? [...ids, ...(current === undefined ? [] : [current.release.id])];
}

/** All generations that run, what is promoted last: of one that is there twice, its settings hold. */
export function sidesOf({ current, candidate, canary, outgoing }: PoolState): Generation[] {
  return [current, outgoing, canary?.generation, candidate].filter((side) => side !== undefined);
}

export function isInPlace({ settings: { strategy } }: Pick<PoolState, "settings">): boolean {
  return strategy === "in-place";
}

/** Every port of the pool's range that is in use, with its user. */
export function takenPorts(state: PoolState): { port: number; key: string; release: string; generation: number }[] {
  return sidesOf(state).flatMap((side) =>
    Object.entries(side.ports).map(([key, port]) => ({ port, key, release: side.release.id, generation: side.number })),
  );
}
