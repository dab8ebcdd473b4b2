import { isDeepStrictEqual } from "node:util";
import type { PoolObservation, PoolShareAnswer } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import { candidateBackend, hasControl } from "../../model/names";
import type { Claim } from "../../model/ownership";
import { type Fate, type PoolCanary, shareAt } from "../../model/pool-share";
import { formatSplit } from "../../model/split";
import { planWalk, STABLE, type Walk, walkProblem } from "../../model/stages";
import { remark } from "../evidence/teller";
import type { Context } from "../server";
import { withAgent } from "./agent-ref";
import { placeArtifact } from "./artifact";
import { watchingProcesses } from "./candidate-watch";
import type { StartStep } from "./in-place";
import { walkLegs } from "./legs";
import { unmeteredProblem } from "./metered";
import { walkOrRetreat } from "./on-breach";
import { assertClaim } from "./ownership";
import type { PoolInputs } from "./pool-inputs";
import { type RunGates, runGates as watchStage } from "./stage-gates";
import { inTransaction, type RunStep } from "./transaction";

/** The pool to promote; of its spec, what the step that starts it does not say. */
type Promoted = Pick<PoolInputs, "agent" | "name" | "edge" | "canary" | "artifact">;

/** Longest reason of a breach that an agent keeps. */
const MAX_REASON = 1000;

/**
 * Promotes a pool's release, and brings the one that is tried beside it to its declared stage, in one transaction: up through
 * every stage between, each through its window and gates; down at once, before anything else. What was tried and is the
 * release now becomes it with the processes that it has. A failure at any point puts all of it back.
 */
export async function promote(
  { agent, name: pool, edge = "", canary, artifact }: Promoted,
  start: StartStep,
  context: Context,
  { claim, runGates = watchStage }: { claim?: Claim; runGates?: RunGates } = {},
): Promise<void> {
  await withAgent(agent, async (client) => {
    const { before, walk } = await look(client, pool, canary, start);
    assertClaim(`pool/${pool}`, before, claim, context);
    const problem = walkProblem(walk) ?? (await unmeteredProblem(client, [edge], walk));
    if (problem !== undefined) throw new Error(`pool ${pool}: ${problem}`);
    await adopt(client, pool, before?.canary, walk, context);
    let stays = false;
    const retreat = async (breach: string) => {
      // What was tried before another candidate is no concern of that one's breach.
      if (!stays) return undefined;
      await withdraw(client, pool, breach, context);
      return "its release";
    };
    await walkOrRetreat({ onBreach: canary?.onBreach ?? "back", what: `pool ${pool}`, retreat }, (breached) =>
      inTransaction(
        client,
        `pool/${pool}`,
        context,
        async (run, signal, tell) => {
          const { before, walk, fate } = await look(client, pool, canary, start);
          stays = fate === "stays";
          await goDown(before?.canary, { pool, fate, walk, canary }, run);
          await placeArtifact(client, { artifact, release: start.spec.release }, { ...context, signal });
          if (canary !== undefined && walk.to.split > 0) await placeArtifact(client, canary, { ...context, signal });
          await run(start);
          await run({ verb: "pool.switch", pool });
          await run({ verb: "pool.follow", pool });
          if (canary === undefined || walk.to.split === 0) return;
          const started = (await client.pool(pool))?.canary;
          const to = stepper(client, pool, canary, run);
          if (walk.legs.length === 0) await to(walk.to.split);
          else if (isOther(started, canary)) await to(walk.from.split);
          await walkLegs(walk, {
            what: `the candidate of pool ${pool}`,
            edges: [{ name: edge, agent: client }],
            heldSince: stays ? started?.since : undefined,
            at: ({ split }) => ({ stable: pool, candidate: candidateBackend(pool), split }),
            to: ({ split }) => to(split),
            runGates: watchingProcesses(client, pool, runGates),
            breached,
            signal,
            log: context.log,
            tell,
          });
        },
        { claim },
      ),
    );
  });
}

/** A pool as it is, what becomes of the release that it tries, and the way from there to the declared stage. */
export async function look(
  client: AgentClient,
  pool: string,
  canary: PoolCanary | undefined,
  start: StartStep,
): Promise<{ before: PoolObservation | undefined; fate: Fate | undefined; walk: Walk }> {
  const [before, { tried: fate }] = await Promise.all([client.pool(pool), client.plan(start)]);
  return { before, fate, walk: walkOf(fate === "stays" ? before?.canary : undefined, canary) };
}

/**
 * The way of a pool's candidate to its declared stage.
 *
 * @param now the candidate, where it is tried already
 */
export function walkOf(now: PoolShareAnswer | undefined, canary: PoolCanary | undefined): Walk {
  const from = { split: lowest(now) };
  // Off, or made the stable release: that is one step.
  if (canary === undefined) return { from, to: { split: 0, stage: STABLE }, legs: [], ms: 0 };
  return planWalk(canary.stages, from, canary.stage);
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
async function goDown(
  tried: PoolShareAnswer | undefined,
  {
    pool,
    fate,
    walk: { to },
    canary,
  }: { pool: string; fate: Fate | undefined; walk: Walk; canary: Promoted["canary"] },
  run: RunStep,
): Promise<void> {
  if (tried?.share === undefined || fate === "serves") return;
  if (fate !== "stays" || canary === undefined || to.split === 0) await run({ verb: "pool.withdraw", pool });
  else if (to.split < tried.share.split) await run({ verb: "pool.share", pool, share: shareAt(canary, to.split) });
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

/** Ends the trial of a candidate, after a breach was undone. */
async function withdraw(client: AgentClient, pool: string, breach: string, context: Context): Promise<void> {
  const [why = breach] = breach.split("\n");
  const printable = [...why].map((character) => (hasControl(character) ? " " : character)).join("");
  await inTransaction(client, `pool/${pool}`, context, async (run, _signal, tell) => {
    tell(remark(`after a breach, all requests go to the release, as onBreach says: ${breach}`));
    await run({ verb: "pool.withdraw", pool, breach: printable.slice(0, MAX_REASON) });
  });
}
