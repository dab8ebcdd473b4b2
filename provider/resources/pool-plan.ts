import type { PlanAnswer, PoolObservation } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import { UnreachableError } from "../../agent/client/connection";
import { canaryPlan, downLines, promotionPlan } from "../../model/promotion-plan";
import { inPlacePlan } from "../../model/serving";
import { soakWarning, walkProblem } from "../../model/stages";
import { type Context, containsUnknown, type Properties } from "../server";
import { withAgent } from "./agent-ref";
import type { StartStep } from "./in-place";
import { sayTaken } from "./ownership";
import type { PoolInputs } from "./pool-inputs";
import { look, walkOf } from "./pool-walk";

/**
 * Says in a preview what the update of a pool will do; silent while parts of it are not known.
 *
 * @param toStep makes the step that will start what is declared
 */
export async function sayPoolPlan(
  before: Properties | undefined,
  after: Properties,
  toStep: (inputs: Properties) => StartStep,
  context: Context,
): Promise<void> {
  if (containsUnknown(before) || containsUnknown(after)) return;
  const [old, pool] = [before as unknown as PoolInputs | undefined, after as unknown as PoolInputs];
  const start = toStep(after);
  const answer = await asked(pool, (client) => client.plan(start));
  const running = old === undefined ? await asked(pool, (client) => client.pool(pool.name)) : undefined;
  if (answer !== undefined) sayTaken(answer, { what: `pool ${pool.name}`, create: false }, context);
  const plan =
    pool.serves !== undefined && pool.watch !== undefined && restarts(old, pool, answer)
      ? [
          ...inPlacePlan(
            pool,
            pool.watch,
            { ...pool.serves, edges: pool.serves.edges.map(({ edge }) => edge) },
            old?.release.id ?? running?.live.release,
          ),
          ...downLines(answer?.down ?? [], pool),
        ]
      : running === undefined
        ? promotionPlan(old, pool, answer?.down)
        : takingOver(running, pool);
  context.log.info([...plan, ...(answer?.takeover ?? [])].join("\n  "));
  if (pool.canary !== undefined || old?.canary !== undefined) await sayWalk(pool, start, context);
}

/** What the create of a pool does that runs already, as by `--replace` or after its record was deleted. */
function takingOver({ live: { release } }: PoolObservation, pool: PoolInputs): string[] {
  const title = `takes pool ${pool.name} over as it runs, with release ${release}: only what is declared otherwise changes; to restart its processes, use sluice restart ${pool.name}`;
  const other = release === pool.release.id ? [] : promotionPlan({ ...pool, release: { id: release, path: "" } }, pool);
  return [title, ...other];
}

/** Says which stages a candidate walks through, from where it is now. */
async function sayWalk(pool: PoolInputs, start: StartStep, { log }: Context): Promise<void> {
  const { name, canary, change } = pool;
  const now = await asked(pool, (client) => look(client, name, canary, start));
  const { before, fate, walk } = now ?? { before: undefined, fate: undefined, walk: walkOf(undefined, canary) };
  const problem = walkProblem(walk);
  if (problem !== undefined) throw new Error(`pool ${name}: ${problem}`);
  const release = before?.canary?.release.id;
  const lines = canaryPlan(release === undefined || fate === undefined ? undefined : { release, fate }, pool, walk);
  if (before?.withdrawn !== undefined && walk.legs.length > 0)
    lines.unshift(`${before.withdrawn.release} was withdrawn at ${before.withdrawn.at}, since ${before.withdrawn.why}`);
  if (lines.length > 0) log.info(lines.join("\n  "));
  if (now === undefined && change.candidate !== undefined && change.candidate.from !== "0%")
    log.warn(`the agent can't be asked where the candidate is: it had ${change.candidate.from} after the last update`);
  const early = soakWarning(walk, fate === "stays" ? before?.canary?.since : undefined, Date.now());
  if (early !== undefined && now !== undefined) log.warn(early);
}

/** Whether a pool in place will be restarted: what its agent says, or where that can't be asked, what is recorded. */
function restarts(before: PoolInputs | undefined, after: PoolInputs, answer: PlanAnswer | undefined): boolean {
  return answer === undefined ? before?.release.id !== after.release.id : answer.how === "restart";
}

/** What a pool's agent answers; nothing where it can't be reached. */
function asked<T>({ agent }: PoolInputs, ask: (client: AgentClient) => Promise<T>): Promise<T | undefined> {
  return withAgent(agent, ask).catch((error: unknown) => {
    if (error instanceof UnreachableError) return undefined;
    throw error;
  });
}
