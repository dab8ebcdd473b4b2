import { isDeepStrictEqual } from "node:util";
import type { PoolObservation, PoolShareAnswer } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import { type CandidateOutcome, type PoolCanary, shareAt } from "../../model/pool/pool-share";
import type { Claim } from "../../model/protocol/ownership";
import { formatSplit } from "../../model/route/split";
import { planRollout, type Rollout, rolloutProblem, STABLE } from "../../model/route/stages";
import { candidateBackend, hasControl } from "../../model/types/names";
import { unmeteredProblem } from "../checks/metered";
import { assertClaim } from "../checks/ownership";
import { note } from "../evidence/note-sender";
import { withAgent } from "../resources/agent-ref";
import type { PoolInputs } from "../resources/pool-inputs";
import type { Context } from "../server";
import { placeArtifact } from "./artifact";
import { watchingProcesses } from "./candidate-watch";
import type { StartStep } from "./in-place";
import { runOrRollBack } from "./roll-back";
import { type RunGates, runGates as watchStage } from "./stage-gates";
import { runStages } from "./stage-runner";
import { inTransaction, type RunStep } from "./transaction";

/** The pool to promote; of its spec, what the step that starts it does not say. */
type PromotedPool = Pick<PoolInputs, "agent" | "name" | "edge" | "canary" | "artifact">;

/** Longest reason of a breach that an agent keeps. */
const MAX_REASON = 1000;

/**
 * Promotes a pool's release, and rolls its candidate out to the declared stage, in one transaction: up through every
 * stage between, each through its window and gates; down at once, before anything else. A candidate that is the
 * declared release now becomes it with the processes that it has. A failure at any point puts all of it back.
 */
export async function promote(
  { agent, name: pool, edge = "", canary, artifact }: PromotedPool,
  start: StartStep,
  context: Context,
  { claim, runGates = watchStage }: { claim?: Claim; runGates?: RunGates } = {},
): Promise<void> {
  await withAgent(agent, async (client) => {
    const { before, rollout } = await readPool(client, pool, canary, start);
    assertClaim(`pool/${pool}`, before, claim, context);
    const problem = rolloutProblem(rollout) ?? (await unmeteredProblem(client, [edge], rollout));
    if (problem !== undefined) throw new Error(`pool ${pool}: ${problem}`);
    await commitObservedShare(client, pool, before?.canary, rollout, context);
    let staysCandidate = false;
    const rollBack = async (breach: string) => {
      // A former candidate has nothing to do with the breach of another one.
      if (!staysCandidate) return undefined;
      await withdrawCandidate(client, pool, breach, context);
      return "its release";
    };
    await runOrRollBack({ onBreach: canary?.onBreach ?? "back", subject: `pool ${pool}`, rollBack }, (breached) =>
      inTransaction(
        client,
        `pool/${pool}`,
        context,
        async (run, signal, sendNote) => {
          const { before, rollout, outcome } = await readPool(client, pool, canary, start);
          staysCandidate = outcome === "stays";
          await reduceShare(before?.canary, { pool, outcome, rollout, canary }, run);
          await placeArtifact(client, { artifact, release: start.spec.release }, { ...context, signal });
          if (canary !== undefined && rollout.to.split > 0) await placeArtifact(client, canary, { ...context, signal });
          await run(start);
          await run({ verb: "pool.switch", pool });
          await run({ verb: "pool.follow", pool });
          if (canary === undefined || rollout.to.split === 0) return;
          const started = (await client.pool(pool))?.canary;
          const moveTo = verifiedMove(client, pool, canary, run);
          if (rollout.steps.length === 0) await moveTo(rollout.to.split);
          else if (isOther(started, canary)) await moveTo(rollout.from.split);
          await runStages(rollout, {
            subject: `the candidate of pool ${pool}`,
            edges: [{ name: edge, agent: client }],
            unchangedSince: staysCandidate ? started?.since : undefined,
            specAt: ({ split }) => ({ stable: pool, candidate: candidateBackend(pool), split }),
            moveTo: ({ split }) => moveTo(split),
            runGates: watchingProcesses(client, pool, runGates),
            breached,
            signal,
            log: context.log,
            sendNote,
          });
        },
        { claim },
      ),
    );
  });
}

/** Reads a pool, the outcome of its candidate, and the rollout to the declared stage. */
export async function readPool(
  client: AgentClient,
  pool: string,
  canary: PoolCanary | undefined,
  start: StartStep,
): Promise<{ before: PoolObservation | undefined; outcome: CandidateOutcome | undefined; rollout: Rollout }> {
  const [before, { tried: outcome }] = await Promise.all([client.pool(pool), client.plan(start)]);
  return { before, outcome, rollout: rolloutOf(outcome === "stays" ? before?.canary : undefined, canary) };
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

/** Commits that somebody took requests off by hand, before a rollout: its undo must not give them back. */
async function commitObservedShare(
  client: AgentClient,
  pool: string,
  now: PoolShareAnswer | undefined,
  { from, steps }: Rollout,
  context: Context,
): Promise<void> {
  const split = lowest(now);
  if (now?.share === undefined || steps.length === 0 || from.split !== split || split >= now.committed) return;
  const share = { ...now.share, split };
  context.log.info(`the candidate was taken from ${formatSplit(now.committed)} to ${formatSplit(split)} by hand`);
  await inTransaction(client, `pool/${pool}`, context, async (run) => {
    await run({ verb: "pool.share", pool, share });
  });
}

/**
 * Takes requests off the candidate if it loses any. One that becomes the stable release keeps them until the switch.
 */
async function reduceShare(
  candidate: PoolShareAnswer | undefined,
  {
    pool,
    outcome,
    rollout: { to },
    canary,
  }: { pool: string; outcome: CandidateOutcome | undefined; rollout: Rollout; canary: PromotedPool["canary"] },
  run: RunStep,
): Promise<void> {
  if (candidate?.share === undefined || outcome === "serves") return;
  if (outcome !== "stays" || canary === undefined || to.split === 0) await run({ verb: "pool.withdraw", pool });
  else if (to.split < candidate.share.split) await run({ verb: "pool.share", pool, share: shareAt(canary, to.split) });
}

/** Sets the candidate's share, and reads back that it holds. */
function verifiedMove(client: AgentClient, pool: string, canary: PoolCanary, run: RunStep) {
  return async (split: number): Promise<void> => {
    await run({ verb: "pool.share", pool, share: shareAt(canary, split) });
    const has = (await client.pool(pool))?.canary?.now;
    if (has !== split && has !== null)
      throw new Error(
        `the edge of pool ${pool} gives ${formatSplit(has ?? 0)} to the candidate, not ${formatSplit(split)}: does somebody else change it?`,
      );
  };
}

/** Ends the trial of a candidate, after a breach was undone. */
async function withdrawCandidate(client: AgentClient, pool: string, breach: string, context: Context): Promise<void> {
  const [why = breach] = breach.split("\n");
  const printable = [...why].map((character) => (hasControl(character) ? " " : character)).join("");
  await inTransaction(client, `pool/${pool}`, context, async (run, _signal, sendNote) => {
    sendNote(note(`after a breach, all requests go to the release, as onBreach says: ${breach}`));
    await run({ verb: "pool.withdraw", pool, breach: printable.slice(0, MAX_REASON) });
  });
}
