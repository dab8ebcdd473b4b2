import { z } from "zod";
import { backendSpec } from "./backend";
import { candidateBackend } from "./names";
import { type Release, release } from "./pool";
import { sticky, testers } from "./route";
import { parsePercent, split } from "./split";
import { splitOf, staged, unknownStage } from "./stages";

/**
 * A pool's candidate release, which takes a share of the pool's own traffic in a second backend beside the stable one's.
 * Finishing makes it the stable release with the processes that it has.
 */

const drawn = z.strictObject({
  /** What keeps a client on its side. A route that leads here and is sticky by cookie needs a cookie of another name. @default "none" */
  sticky: sticky.default({ by: "none" }),
  /** A header with which testers reach the candidate whatever its share is. @default none */
  testers: testers.optional(),
});

/** The share of a pool's requests that goes to its candidate, as an agent has it. */
export const poolShare = drawn.extend({ split });
export type PoolShare = z.output<typeof poolShare>;

/** What a program says of a pool's candidate. */
export const poolCanary = drawn.extend({
  /** The release to try beside the pool's `release`, with the same processes. It runs from the first stage on. */
  release,
  ...staged.shape,
});
export type PoolCanary = z.output<typeof poolCanary>;
export type PoolCanaryInput = z.input<typeof poolCanary>;

/** {@link poolCanary} with a stage that exists. */
export const checkedCanary = poolCanary.superRefine((canary, context) => {
  const unknown = unknownStage(canary.stages, canary.stage);
  if (unknown !== undefined) context.addIssue({ code: "custom", path: ["stage"], message: unknown });
  for (const [stage, { split, mirror }] of canary.stages.entries()) {
    const issue = (key: string, message: string) =>
      context.addIssue({ code: "custom", path: ["stages", stage, key], message });
    if (parsePercent(split) === 0)
      issue("split", `${split} gives the candidate nothing, and it would not run: begin with a share, or use a Route`);
    if (mirror !== undefined) issue("mirror", "is a Route's: use one to mirror requests to another pool");
  }
  for (const [stage, { gates }] of canary.stages.entries())
    for (const [index, gate] of gates.entries())
      if (gate.kind === "parity" && gate.requests === undefined)
        context.addIssue({
          code: "custom",
          path: ["stages", stage, "gates", index, "requests"],
          message: "is not given, and a pool keeps no sample: name a file of requests, or use a Route with a sample",
        });
});

/** The candidate's share in the stage to be in, in 1/10,000. */
export function candidateShare(canary: Pick<PoolCanary, "stages" | "stage"> | undefined): number {
  return canary === undefined ? 0 : (splitOf(canary.stages, canary.stage) ?? 0);
}

/** The share that a stage's split makes of a declared candidate. */
export function shareAt({ sticky, testers }: PoolCanary, split: number): PoolShare {
  return { sticky, ...(testers === undefined ? {} : { testers }), split };
}

/** A pool as far as its candidate is concerned. */
interface Tried {
  release: Release;
  canary?: PoolCanary | undefined;
}

/** The share that a declared candidate already has; one of another release begins without requests. */
export function candidateShareBefore(before: Tried | undefined, after: Tried): number {
  const same = sameRelease(before?.canary?.release, after.canary?.release);
  return same ? candidateShare(before?.canary) : 0;
}

/** Whether a pool's release is the one that was tried before, whose processes become the stable ones. */
export function isFinishing(before: Tried | undefined, after: Tried): boolean {
  return candidateShare(before?.canary) > 0 && sameRelease(before?.canary?.release, after.release);
}

function sameRelease(one: Release | undefined, other: Release | undefined): boolean {
  return one !== undefined && other !== undefined && one.id === other.id && one.path === other.path;
}

/** A backend on an edge, with the share that its pool's candidate takes of its requests. */
export const edgeBackend = backendSpec.extend({
  share: poolShare
    .extend({
      /** Key of the split in the edge's map. It names the generations, so that workers of before a reload have another one where those changed. */
      key: z.string().regex(/^[a-z][a-z0-9-]{0,39}\.candidate\/\d{1,10}\/\d{1,10}$/),
    })
    .optional(),
});
export type EdgeBackend = z.output<typeof edgeBackend>;

/** Key of a candidate's share in an edge's map. */
export function shareKey(pool: string, stable: number, candidate: number): string {
  return `${candidateBackend(pool)}/${stable}/${candidate}`;
}
