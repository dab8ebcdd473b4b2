import { setTimeout as sleep } from "node:timers/promises";
import type { PoolObservation } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import { fallbackText, fallsBack } from "../../model/edge/backend-health";
import type { RunGates, StageContext } from "./stage-gates";

/** Pause between two checks of the candidate's processes, in milliseconds. */
const CHECK_MS = 1000;

/**
 * Gates of a pool's stages, with one that every stage has: no process of the candidate ends by itself or is unhealthy. While
 * none of its replicas is up, its requests go to the stable release, so that no other gate need notice.
 */
export function watchingProcesses(client: AgentClient, pool: string, runGates: RunGates): RunGates {
  return watching(runGates, async () => {
    const before = endingsOf(await client.pool(pool));
    return async () => newEnding(before, endingsOf(await client.pool(pool)));
  });
}

/** Gates of a route's stages, with one that every stage has: the candidate takes its share, and no edge leads that to the stable side. */
export function watchingShare(runGates: RunGates): RunGates {
  return watching(runGates, async ({ edges, spec: { candidate = "", split } }) => async () => {
    if (split === 0) return undefined;
    const answers = await Promise.all(edges.map(({ name, agent }) => agent.edge(name)));
    const problems = answers.flatMap((answer) => {
      const health = answer?.backends?.[candidate];
      return health !== undefined && fallsBack(health)
        ? [`edge ${answer?.name}: ${fallbackText(candidate, health)}`]
        : [];
    });
    return problems.length === 0 ? undefined : problems.join("; ");
  });
}

/**
 * Gates of stages that are watched together with something else.
 *
 * @param begin looks at how it is before the gates are watched, and says how to find out what is wrong from then on
 */
function watching(
  runGates: RunGates,
  begin: (context: StageContext) => Promise<() => Promise<string | undefined>>,
): RunGates {
  return async (stage, context) => {
    const problem = await begin(context);
    const ended = new AbortController();
    const watched = new AbortController();
    const underWay = watch(problem, ended, watched.signal);
    try {
      await runGates(stage, { ...context, signal: AbortSignal.any([context.signal, ended.signal]) });
    } catch (error) {
      throw ended.signal.aborted && !context.signal.aborted ? ended.signal.reason : error;
    } finally {
      watched.abort();
      await underWay;
    }
    const late = await problem();
    if (late !== undefined) throw new Error(late);
  };
}

/** Polls until it is stopped; aborts the given controller when a process has ended. */
async function watch(problem: () => Promise<string | undefined>, ended: AbortController, until: AbortSignal) {
  while (!until.aborted) {
    await sleep(CHECK_MS, undefined, { signal: until }).catch(() => undefined);
    if (until.aborted) return;
    // An agent that can't be asked now is restarting: the check at the end of the stage is what counts.
    const found = await problem().catch(() => undefined);
    if (found !== undefined) ended.abort(new Error(found));
  }
}

interface Ending {
  restarts: number;
  /** Why it is down; undefined if it is not. */
  wrong: string | undefined;
}

/** The candidate's processes by key: how often each was started again although nobody asked for that, and how it is. */
function endingsOf(pool: PoolObservation | undefined): Map<string, Ending> {
  const generation = pool?.candidate?.generation;
  const own = (pool?.processes ?? []).filter((process) => process.generation === generation && process.wanted);
  return new Map(
    own.map(({ key, release, restarts, state, health }) => {
      const subject = `process ${key} of candidate ${release}`;
      const isDown = state === "backoff" || state === "failed" || state === "stopped";
      const wrong = isDown
        ? `${subject} is in ${state}`
        : health === "unhealthy"
          ? `${subject} is unhealthy`
          : undefined;
      return [key, { restarts, wrong }];
    }),
  );
}

function newEnding(before: ReadonlyMap<string, Ending>, now: ReadonlyMap<string, Ending>): string | undefined {
  for (const [key, { restarts, wrong }] of now) {
    if (wrong !== undefined) return wrong;
    if (restarts > (before.get(key)?.restarts ?? 0)) return `process ${key} of the candidate has ended by itself`;
  }
  return undefined;
}
