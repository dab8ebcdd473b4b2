import type { PlanAnswer, PoolObservation } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import { UnreachableError } from "../../agent/client/connection";
import { inPlacePlan } from "../../model/pool/in-place";
import { candidatePlan, downLines, promotionPlan } from "../../model/pool/promotion-plan";
import { rolloutProblem, soakWarning } from "../../model/route/stages";
import { whenKnown } from "../checks/known";
import { logTakenOver } from "../checks/ownership";
import { withAgent } from "../resources/agent-ref";
import type { DeclaredPool, PoolInputs } from "../resources/pool-inputs";
import { goesBack, type StartStep } from "../rollout/in-place";
import { readPool, rolloutOf } from "../rollout/pool-rollout";
import { type Context, containsUnknown, getAt, isUnknown } from "../server";
import { unknownNames } from "./plan";
import { comparedPools } from "./pool-change";

/**
 * Says in a preview what the update of a pool will do; where parts of it are not known, as far as the rest tells.
 *
 * @param toStep makes the step that will start what is declared
 */
export async function logPoolPlan(
  before: PoolInputs | undefined,
  pool: PoolInputs,
  toStep: (inputs: PoolInputs) => StartStep,
  context: Context,
): Promise<void> {
  const unknown = unknownNames(pool);
  if (unknown !== "") return logKnownPlan(before, pool, unknown, context);
  const start = toStep(pool);
  // The recorded state may be an older one, or another deployer's agent has moved on.
  const compared = before && (await comparedPools(pool, start));
  const old = compared?.before ?? before;
  const answer = await asked(pool, (client) => client.plan(start));
  const running = old === undefined ? await asked(pool, (client) => client.pool(pool.name)) : undefined;
  if (answer !== undefined) logTakenOver(answer, { what: `pool ${pool.name}`, create: false }, context);
  context.log.info(
    [
      ...planOf(old, compared?.after ?? pool, answer, running, goesBack(pool, answer)),
      ...(answer?.takeover ?? []),
    ].join("\n  "),
  );
  for (const line of answer?.changed ?? []) context.log.warn(line);
  if (pool.canary !== undefined || old?.canary !== undefined) await logRollout(pool, start, context);
}

/**
 * @param running the pool where it runs, although nothing is recorded of it
 * @param isRollback whether it goes back to a release that has served before
 */
function planOf(
  old: DeclaredPool | undefined,
  pool: DeclaredPool,
  answer?: PlanAnswer,
  running?: PoolObservation,
  isRollback = false,
): string[] {
  if (pool.serves !== undefined && pool.watch !== undefined && restarts(old, pool, answer))
    return [
      ...inPlacePlan(
        pool,
        pool.watch,
        { ...pool.serves, edges: pool.serves.edges.map(({ edge }) => edge) },
        old?.release.id ?? running?.live.release,
        isRollback,
      ),
      ...downLines(answer?.down ?? [], pool),
    ];
  return running === undefined ? promotionPlan(old, pool, answer?.down) : takingOver(running, pool);
}

/** Describes the create of a pool that runs already, as by `--replace` or after its record was deleted. */
function takingOver({ live: { release } }: PoolObservation, pool: DeclaredPool): string[] {
  const title = `takes pool ${pool.name} over as it runs, with release ${release}: only what is declared otherwise changes; to restart its processes, use sluice restart ${pool.name}`;
  const other = release === pool.release.id ? [] : promotionPlan({ ...pool, release: { id: release, path: "" } }, pool);
  return [title, ...other];
}

/** Describes the known part of a plan. Its agent can't be asked, since it judges only a complete step. */
function logKnownPlan(old: PoolInputs | undefined, pool: PoolInputs, unknown: string, { log }: Context): void {
  const plan =
    old === undefined ? whenKnown(pool, (known) => planOf(undefined, known)) : planOf(old, assumed(old, pool));
  const title = `${unknown} ${unknown.includes(", ") ? "are" : "is"} not known until the update`;
  log.info([...(isUnknown(plan) ? [title] : [`${title}; as far as the rest tells, it`, ...plan])].join("\n  "));
  if (pool.canary !== undefined || old?.canary !== undefined)
    log.info("the stages of its candidate are planned by the update, once all of that is known");
}

/** A pool as a plan takes it: what is not known is a text that says so where there was one, and else what was recorded. */
function assumed(old: PoolInputs, pool: PoolInputs): PoolInputs {
  const watch = containsUnknown(pool.watch) ? old.watch : pool.watch;
  const { watch: _watch, ...rest } = assume(old, pool) as PoolInputs;
  // Windows and gates are computed with, so that a text for people is none of theirs.
  return watch === undefined ? rest : { ...rest, watch };
}

function assume(before: unknown, after: unknown): unknown {
  if (isUnknown(after)) return before === undefined || typeof before === "string" ? "(not known yet)" : before;
  if (Array.isArray(after)) return after.map((item, index) => assume(getAt(before, [index]), item));
  if (typeof after !== "object" || after === null) return after;
  return Object.fromEntries(Object.entries(after).map(([key, item]) => [key, assume(getAt(before, [key]), item)]));
}

/** Logs the stages that a candidate goes through from its current position. */
async function logRollout(pool: PoolInputs, start: StartStep, { log }: Context): Promise<void> {
  const { name, canary, change } = pool;
  const now = await asked(pool, (client) => readPool(client, name, canary, start));
  const { outcome, rollout = rolloutOf(undefined, canary) } = now ?? {};
  const [before] = now?.now ?? [];
  const problem = rolloutProblem(rollout);
  if (problem !== undefined) throw new Error(`pool ${name}: ${problem}`);
  const release = before?.candidate?.release.id;
  const lines = candidatePlan(
    release === undefined || outcome === undefined ? undefined : { release, outcome },
    pool,
    rollout,
  );
  if (before?.withdrawn !== undefined && rollout.steps.length > 0)
    lines.unshift(`${before.withdrawn.release} was withdrawn at ${before.withdrawn.at}, since ${before.withdrawn.why}`);
  if (lines.length > 0) log.info(lines.join("\n  "));
  if (now === undefined && change.candidate !== undefined && change.candidate.from !== "0%")
    log.warn(`the agent can't be asked where the candidate is: it had ${change.candidate.from} after the last update`);
  const early = soakWarning(rollout, outcome === "stays" ? before?.candidate?.since : undefined, Date.now());
  if (early !== undefined && now !== undefined) log.warn(early);
}

/** Whether a pool in place will be restarted: by its agent or, if that can't be asked, by the record. */
function restarts(before: DeclaredPool | undefined, after: DeclaredPool, answer: PlanAnswer | undefined): boolean {
  return answer === undefined ? before?.release.id !== after.release.id : answer.how === "restart";
}

/** Answer of a pool's agent; undefined if it can't be reached. */
function asked<T>({ agent }: DeclaredPool, ask: (client: AgentClient) => Promise<T>): Promise<T | undefined> {
  return withAgent(agent, ask).catch((error: unknown) => {
    if (error instanceof UnreachableError) return undefined;
    throw error;
  });
}
