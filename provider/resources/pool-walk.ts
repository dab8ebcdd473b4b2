import { isDeepStrictEqual } from "node:util";
import type { PoolObservation, PoolShareAnswer } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import { candidateBackend } from "../../model/names";
import { type PoolCanary, shareAt } from "../../model/pool-share";
import { formatSplit } from "../../model/split";
import { planWalk, STABLE, type Walk, walkProblem } from "../../model/stages";
import type { Step } from "../../model/transaction";
import { remark } from "../evidence/teller";
import type { Context } from "../server";
import { withAgent } from "./agent-ref";
import { placeArtifact } from "./artifact";
import type { StartStep } from "./in-place";
import { walkLegs } from "./legs";
import { unmeteredProblem } from "./metered";
import type { PoolInputs } from "./pool-inputs";
import { type RunGates, runGates as watchStage } from "./stage-gates";
import { inTransaction, type RunStep } from "./transaction";

/** The pool to promote; of its spec, what the step that starts it does not say. */
type Promoted = Pick<PoolInputs, "agent" | "name" | "edge" | "canary" | "artifact">;
type Share = Extract<Step, { verb: "pool.share" }>["share"];

/**
 * Promotes a pool's release, and brings the one that is tried beside it to its declared stage, in one transaction: up through
 * every stage between, each through its window and gates; down at once, before anything else. What was tried and is the
 * release now becomes it with the processes that it has. A failure at any point puts all of it back.
 */
export async function promote(
  { agent, name: pool, edge = "", canary, artifact }: Promoted,
  start: StartStep,
  context: Context,
  { create = false, runGates = watchStage }: { create?: boolean; runGates?: RunGates } = {},
): Promise<void> {
  const what = `the candidate of pool ${pool}`;
  await withAgent(agent, async (client) => {
    const target = `pool/${pool}` as const;
    const before = await client.pool(pool);
    const walk = walkOf(before, canary);
    const problem = walkProblem(walk) ?? (await unmeteredProblem(client, [edge], walk));
    if (problem !== undefined) throw new Error(`pool ${pool}: ${problem}`);
    await adopt(client, pool, before?.canary, walk, context);
    let breached = false;
    try {
      await inTransaction(
        client,
        target,
        context,
        async (run, signal, tell) => {
          const share = (to: Share) => run({ verb: "pool.share", pool, share: to });
          await retreat(before, { canary, release: start.spec.release }, walk, share);
          const placed = { ...(artifact === undefined ? {} : { artifact }), release: start.spec.release };
          await placeArtifact(client, placed, { ...context, signal });
          await run({ ...start, ...(walk.to.split > 0 && canary !== undefined ? { canary: canary.release } : {}) });
          await run({ verb: "pool.switch", pool });
          await run({ verb: "pool.follow", pool });
          if (canary === undefined || walk.to.split === 0) return;
          const started = (await client.pool(pool))?.canary;
          // Changed processes are another candidate, whose requests begin anew.
          const way = started?.generation === before?.canary?.generation ? walk : walkOf(undefined, canary);
          const to = stepper(client, pool, canary, run);
          if (way.legs.length === 0) await to(way.to.split);
          else if (isOther(started, canary)) await to(way.from.split);
          await walkLegs(way, {
            what,
            edges: [{ name: edge, agent: client }],
            heldSince: started?.generation === before?.canary?.generation ? started?.since : undefined,
            at: ({ split }) => ({ stable: pool, candidate: candidateBackend(pool), split }),
            to: ({ split }) => to(split),
            runGates,
            breached: () => {
              breached = true;
            },
            signal,
            log: context.log,
            tell,
          });
        },
        { create },
      );
    } catch (error) {
      if (!breached || canary?.onBreach !== "stable" || walk.from.split === 0) throw error;
      throw await afterBreach(client, pool, error as Error, context);
    }
  });
}

/** The way of a pool's candidate from where it is to its declared stage; another one begins without requests. */
export function walkOf(now: Pick<PoolObservation, "canary"> | undefined, canary: PoolCanary | undefined): Walk {
  const from = { split: lowest(now?.canary) };
  // Off, or made the stable release: that is one step.
  if (canary === undefined) return { from, to: { split: 0, stage: STABLE }, legs: [], ms: 0 };
  const same = isDeepStrictEqual({ ...now?.canary?.release }, { ...canary.release });
  return planWalk(canary.stages, same ? from : { split: 0 }, canary.stage);
}

/** What was committed or, where somebody took requests off the candidate by hand, what is left of it. */
function lowest(now: PoolShareAnswer | undefined): number {
  return now === undefined ? 0 : Math.min(now.committed, now.now ?? now.committed);
}

function isOther(now: PoolShareAnswer | undefined, canary: PoolCanary): boolean {
  return now?.share === undefined || !isDeepStrictEqual({ ...now.share, split: 0 }, shareAt(canary, 0));
}

/** Makes it the committed state that somebody took requests off by hand, before a walk up: its undo must not give them back. */
async function adopt(
  client: AgentClient,
  pool: string,
  now: PoolShareAnswer | undefined,
  { from, legs }: Walk,
  context: Context,
): Promise<void> {
  const split = lowest(now);
  if (now?.share === undefined || legs.length === 0 || from.split !== split || split >= now.committed) return;
  const share = { ...now.share, split };
  context.log.info(`the candidate was taken from ${formatSplit(now.committed)} to ${formatSplit(split)} by hand`);
  await inTransaction(client, `pool/${pool}`, context, async (run) => {
    await run({ verb: "pool.share", pool, share });
  });
}

/** Takes requests off what is tried, where it loses any. What becomes the stable release keeps them until the switch. */
async function retreat(
  before: PoolObservation | undefined,
  { canary, release }: { canary: PoolCanary | undefined; release: StartStep["spec"]["release"] },
  { to }: Walk,
  share: (to: Share) => Promise<unknown>,
): Promise<void> {
  const tried = before?.canary;
  if (tried?.share === undefined || isDeepStrictEqual({ ...tried.release }, { ...release })) return;
  const same = canary !== undefined && isDeepStrictEqual({ ...tried.release }, { ...canary.release });
  if (!same || to.split === 0) await share(null);
  else if (to.split < tried.share.split) await share(shareAt(canary, to.split));
}

/** Sets the candidate's share, and reads back that it holds. */
function stepper(client: AgentClient, pool: string, canary: PoolCanary, run: RunStep) {
  return async (split: number): Promise<void> => {
    await run({ verb: "pool.share", pool, share: shareAt(canary, split) });
    const has = (await client.pool(pool))?.canary?.now;
    if (has !== split && has !== null)
      throw new Error(
        `the edge of pool ${pool} gives ${formatSplit(has ?? 0)} to the candidate, not ${formatSplit(split)}: does somebody else change it?`,
      );
  };
}

/** Takes the candidate's requests as they are again after the undo. Its processes run on until the next update. */
async function afterBreach(client: AgentClient, pool: string, breach: Error, context: Context): Promise<Error> {
  try {
    await inTransaction(client, `pool/${pool}`, context, async (run, _signal, tell) => {
      tell(remark(`after a breach, all requests go to the release, as onBreach says: ${breach.message}`));
      await run({ verb: "pool.share", pool, share: null });
    });
    return new Error(`${breach.message}\nThen all requests of pool ${pool} went to its release, as onBreach says.`);
  } catch (error) {
    return new Error(
      `${breach.message}\nThe requests of pool ${pool} could not all be led to its release, as onBreach says: ${(error as Error).message}`,
    );
  }
}
