import { isDeepStrictEqual } from "node:util";
import type { PoolObservation, PoolShareAnswer } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import { type CandidateOutcome, type PoolCanary, type PoolShare, shareAt } from "../../model/pool/pool-share";
import type { Claim } from "../../model/protocol/ownership";
import type { StepInput } from "../../model/protocol/transaction";
import { planRollout, type Rollout, STABLE } from "../../model/route/stages";
import { candidateBackend, hasControl } from "../../model/types/names";
import { withAgent } from "../resources/agent-ref";
import type { PoolInputs } from "../resources/pool-inputs";
import type { Context } from "../server";
import { placeArtifact } from "./artifact";
import { watchingProcesses } from "./candidate-watch";
import type { StartStep } from "./in-place";
import { type Reading, type RolloutPart, rollOut, type Subject } from "./rollout";
import { type RunGates, runGates as watchStage } from "./stage-gates";
import type { OpenPart } from "./transaction";

/** The pool to promote, with the parts of its spec that the starting step lacks. */
type PromotedPool = Pick<PoolInputs, "agent" | "name" | "edge" | "canary" | "artifact">;

/** Longest reason of a breach that an agent keeps. */
const MAX_REASON = 1000;

/**
 * Promotes a pool's release, and rolls its candidate out to the declared stage, see {@link rollOut}. A candidate that is
 * the declared release now becomes it with the processes that it has.
 */
export async function promote(
  pool: PromotedPool,
  start: StartStep,
  context: Context,
  { claim, runGates = watchStage }: { claim?: Claim; runGates?: RunGates } = {},
): Promise<void> {
  await withAgent(pool.agent, (client) => rollOut(poolSubject(client, pool, start, { claim, runGates }), context));
}

interface PoolReading extends Reading {
  now: [PoolObservation | undefined];
  /** Of the candidate that runs now; nothing where none does. */
  outcome: CandidateOutcome | undefined;
}

/** A pool as the subject of a rollout. Above 60 lines, as a list of short methods. */
function poolSubject(
  client: AgentClient,
  { name, edge = "", canary, artifact }: PromotedPool,
  start: StartStep,
  { claim, runGates }: { claim: Claim | undefined; runGates: RunGates },
): Subject<PoolReading> {
  const target = `pool/${name}` as const;
  const shareStep = (share: PoolShare): StepInput => ({ verb: "pool.share", pool: name, share });
  return {
    title: `pool ${name}`,
    staged: `the candidate of pool ${name}`,
    onBreach: canary?.onBreach ?? "back",
    runGates: watchingProcesses(client, name, runGates),
    parts: [{ client, target, claim, edges: [edge] }],
    specAt: ({ split }) => ({ stable: name, candidate: candidateBackend(name), split }),
    read: () => readPool(client, name, canary, start),

    takenByHand({ now: [pool], committed, rollout: { from } }) {
      const { share } = pool?.candidate ?? {};
      const split = lowest(pool?.candidate);
      // One that ends, or becomes the release, has its requests led elsewhere by the rollout itself.
      if (share === undefined || from.split !== split || split >= committed) return [];
      return [{ client, target, step: shareStep({ ...share, split }) }];
    },

    async prepare([part], before, context) {
      const { run } = part as OpenPart<RolloutPart>;
      const { outcome, rollout } = before;
      const reduced = reducedShare(before, canary);
      if (reduced === "none") await run({ verb: "pool.withdraw", pool: name });
      else if (reduced !== "as it is") await run(shareStep(reduced));
      await placeArtifact(client, { artifact, release: start.spec.release }, context);
      if (canary !== undefined && rollout.to.split > 0) await placeArtifact(client, canary, context);
      await run(start);
      await run({ verb: "pool.switch", pool: name });
      await run({ verb: "pool.follow", pool: name });
      if (canary === undefined || rollout.to.split === 0) return undefined;
      const started = (await client.pool(name))?.candidate;
      return {
        isNew: isOther(started, canary),
        unchangedSince: outcome === "stays" ? started?.since : undefined,
        stepAt: (_part, { split }) => shareStep(shareAt(canary, split)),
      };
    },

    async readBack({ split: wanted }) {
      const has = (await client.pool(name))?.candidate?.now;
      return [{ edge: `the edge of pool ${name}`, has, wanted, to: "to the candidate" }];
    },

    rollBack({ outcome }, message) {
      // A former candidate has nothing to do with the breach of another one.
      if (outcome !== "stays") return undefined;
      const [why = message] = message.split("\n");
      const printable = [...why].map((character) => (hasControl(character) ? " " : character)).join("");
      const step: StepInput = { verb: "pool.withdraw", pool: name, breach: printable.slice(0, MAX_REASON) };
      return { parts: [{ client, target, step }], to: "its release", note: "all requests go to the release" };
    },
  };
}

/** Share of a candidate that loses requests. One that becomes the stable release keeps them until the switch. */
function reducedShare(
  { now: [pool], outcome, rollout: { to } }: PoolReading,
  canary: PoolCanary | undefined,
): PoolShare | "none" | "as it is" {
  const has = pool?.candidate?.share;
  if (has === undefined || outcome === "serves") return "as it is";
  if (outcome !== "stays" || canary === undefined || to.split === 0) return "none";
  return to.split < has.split ? shareAt(canary, to.split) : "as it is";
}

/** Reads a pool, the outcome of its candidate, and the rollout to the declared stage. */
export async function readPool(
  client: AgentClient,
  name: string,
  canary: PoolCanary | undefined,
  start: StartStep,
): Promise<PoolReading> {
  const [pool, { candidate: outcome }] = await Promise.all([client.pool(name), client.plan(start)]);
  const candidate = pool?.candidate;
  const rollout = rolloutOf(outcome === "stays" ? candidate : undefined, canary);
  return { now: [pool], outcome, committed: candidate?.committed ?? 0, rollout };
}

/**
 * The rollout of a pool's candidate to its declared stage.
 *
 * @param now the candidate, if it runs already
 */
export function rolloutOf(now: PoolShareAnswer | undefined, canary: PoolCanary | undefined): Rollout {
  const from = { split: lowest(now) };
  // Off, or made the stable release: that is one step.
  if (canary === undefined) return { from, to: { split: 0, stage: STABLE }, steps: [], ms: 0 };
  return planRollout(canary.stages, from, canary.stage);
}

/** The committed share or, if somebody took requests off the candidate by hand, the rest of it. */
function lowest(now: PoolShareAnswer | undefined): number {
  return now === undefined ? 0 : Math.min(now.committed, now.now ?? now.committed);
}

function isOther(now: PoolShareAnswer | undefined, canary: PoolCanary): boolean {
  return now?.share === undefined || !isDeepStrictEqual({ ...now.share, split: 0 }, shareAt(canary, 0));
}
