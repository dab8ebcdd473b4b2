import { z } from "zod";
import { backendSpec } from "../edge/backend";
import { judgesMirror } from "../gate/gate";
import { sticky, testers } from "../route/route";
import { parsePercent, split } from "../route/split";
import { splitOf, staged, unknownStage } from "../route/stages";
import { absolutePath, candidateBackend } from "../types/names";
import { identityOf } from "./identity";
import { type PoolSpec, poolProperties } from "./pool";
import { release } from "./release";

/**
 * A pool's candidate release, which takes a share of the pool's own traffic in a second backend beside the stable one's.
 * Finishing makes it the stable release with the processes that it has.
 */

const assigned = z.strictObject({
  /**
   * How a client is kept on its side. A route that leads here and is sticky by cookie needs a cookie of another name.
   * @default "none"
   */
  sticky: sticky.default({ by: "none" }),
  /** A header with which testers reach the candidate whatever its share is. @default none */
  testers: testers.optional(),
});

/** The share of a pool's requests that goes to its candidate, as an agent has it. */
export const poolShare = assigned.extend({ split });
export type PoolShare = z.output<typeof poolShare>;

/** A pool's candidate as a program declares it. */
export const poolCanary = assigned.extend({
  /** The release to try beside the pool's `release`. It runs from the first stage on. */
  release,
  /** Its processes, all of them, where they are not those of the pool: another environment, command or health. @default the pool's */
  processes: poolProperties.shape.processes.optional(),
  /** Folder or .tar.gz of the deployer that becomes the candidate's folder on the host. @default none: it is there already */
  artifact: absolutePath.optional(),
  ...staged.shape,
});
export type PoolCanary = z.output<typeof poolCanary>;
export type PoolCanaryInput = z.input<typeof poolCanary>;

/** {@link poolCanary} with a stage that exists, and stages and gates that can do their work on a pool. */
export const checkedCanary = poolCanary.superRefine((canary, context) => {
  const issue = (path: (string | number)[], message: string) => context.addIssue({ code: "custom", path, message });
  const unknown = unknownStage(canary.stages, canary.stage);
  if (unknown !== undefined) issue(["stage"], unknown);
  for (const [index, { split, mirror }] of canary.stages.entries()) {
    const at = ["stages", index];
    if (parsePercent(split) === 0)
      issue(
        [...at, "split"],
        `${split} gives the candidate nothing, and it would not run: begin with a share, or use a Route`,
      );
    if (mirror !== undefined) issue([...at, "mirror"], "is a Route's: use one to mirror requests to another pool");
  }
  for (const [index, { gates }] of canary.stages.entries())
    for (const [position, gate] of gates.entries()) {
      const at = ["stages", index, "gates", position];
      if (judgesMirror(gate))
        issue(
          [...at, "source"],
          "judges the answers of a shadow, and a pool has none: leave source out, or use a Route with a mirror",
        );
      else if (gate.kind === "soak" && index === 0)
        issue(
          [...at, "kind"],
          "judges the stage before, and before the first one the candidate does not run: put the soak into a later stage",
        );
      if (gate.kind === "parity" && gate.requests === undefined)
        issue(
          [...at, "requests"],
          "is not given, and a pool keeps no sample: name a file of requests, or use a Route with a sample",
        );
    }
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
interface PoolWithCandidate extends Pick<PoolSpec, "release" | "processes"> {
  canary?: PoolCanary | undefined;
}

/** Outcome of a candidate in an update: it becomes the stable release, it stays a candidate, or it ends. */
export type CandidateOutcome = "serves" | "stays" | "ends";

/** Release and processes of a pool's candidate; undefined if none is declared. */
export function candidateOf({
  processes,
  canary,
}: PoolWithCandidate): Pick<PoolSpec, "release" | "processes"> | undefined {
  return canary && { release: canary.release, processes: canary.processes ?? processes };
}

/** The share that a declared candidate already has; one that differs in anything but live settings begins without requests. */
export function candidateShareBefore(before: PoolWithCandidate | undefined, after: PoolWithCandidate): number {
  return isSame(before && candidateOf(before), candidateOf(after)) ? candidateShare(before?.canary) : 0;
}

/** Whether a pool's former candidate becomes its stable release, with its processes. */
export function isFinishing(before: PoolWithCandidate | undefined, after: PoolWithCandidate): boolean {
  return candidateShare(before?.canary) > 0 && isSame(before && candidateOf(before), after);
}

function isSame(
  one: Pick<PoolSpec, "release" | "processes"> | undefined,
  other: Pick<PoolSpec, "release" | "processes"> | undefined,
): boolean {
  return one !== undefined && other !== undefined && identityOf(one) === identityOf(other);
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
