import { UnreachableError } from "../../agent/client/connection";
import { poolChange, startsAnew } from "../../model/change";
import { forAgent, poolDeclarations } from "../../model/declared";
import { expectedPool } from "../../model/live";
import { poolSpecWith } from "../../model/pool";
import { candidateShare } from "../../model/pool-share";
import { canaryPlan, promotionPlan } from "../../model/promotion-plan";
import { inPlacePlan, watched } from "../../model/serving";
import { soakWarning, walkProblem } from "../../model/stages";
import { type Context, containsUnknown, type Failure, type Properties, parsePath, type Resource } from "../server";
import { askAgent, liveFailures, withAgent } from "./agent-ref";
import { withArtifact } from "./artifact";
import { gateFailures } from "./gate-checks";
import { replaceInPlace, type StartStep } from "./in-place";
import { inPlaceFailures } from "./in-place-check";
import { differences, parseInputs, renameFailures, whenKnown, withLive } from "./inputs";
import { meterFailures } from "./metered";
import { type PoolInputs, poolOwn, strategyFailures } from "./pool-inputs";
import { removePool } from "./pool-removal";
import { promote, walkOf } from "./pool-walk";

/** The processes of a release on a host, and the backends that they serve. A new release is promoted side by side, or in place. */
export const poolResource: Resource = {
  type: "sluice:index:Pool",

  async check(context, { olds, news: given }) {
    const { news, failures: artifactFailures } = await withArtifact(given);
    const { failures, values, known } = parseInputs(news, {
      own: poolOwn,
      spec: poolSpecWith(secretNames(news, context)),
    });
    const inPlace = values.strategy === "in-place";
    if (inPlace) values.watch ??= watched.parse({});
    failures.push(...artifactFailures, ...renameFailures(olds, values), ...strategyFailures(values));
    const secret = secretFailures(context.secrets);
    const valid = known && failures.length === 0 && secret.length === 0;
    const inputs = values as unknown as PoolInputs;
    const live = valid
      ? [
          ...(await hostFailures(inputs, startStep(values, context), olds === undefined ? context.urn : undefined)),
          ...(await inPlaceFailures(inputs, context)),
          ...(await canaryFailures(inputs, context)),
        ]
      : [];
    const secretNamed = secretNames(values, context);
    return {
      failures: [...failures, ...secret, ...live],
      inputs: {
        ...withLive(
          values,
          olds,
          whenKnown(valid, () => expectedPool(inputs)),
        ),
        change: whenKnown(valid, () => poolChange(olds as unknown as PoolInputs | undefined, inputs)),
        ...(Object.keys(secretNamed).length === 0 ? {} : { secretNames: secretNamed }),
      },
    };
  },

  async diff(_context, request) {
    return {
      entries: differences(request, {
        replacing: ["edge", "strategy", "agent.directory"],
        // Where an artifact lies on who deploys says nothing: its digest is part of the release's path.
        ignored: ["agent.socket", "artifact", ...Object.keys(poolDeclarations)],
        expected: (inputs) => expectedPool(inputs as unknown as PoolInputs),
      }),
      deleteBeforeReplace: true,
    };
  },

  async create(context, { inputs }) {
    if (context.preview) await sayPlan(undefined, inputs, context);
    else await apply(inputs, context, { create: true });
    return { id: String(inputs.name), outputs: outputsOf(inputs) };
  },

  async read(context, { id, inputs, state }) {
    const { agent } = state as unknown as Partial<PoolInputs>;
    return askAgent(agent, context, { id, inputs, outputs: state }, async (client) => {
      const pool = await client.pool(id);
      return pool === undefined ? undefined : { id, inputs, outputs: { ...state, live: pool.live } };
    });
  },

  async update(context, { oldInputs, news }) {
    if (context.preview) await sayPlan(oldInputs, news, context);
    else await apply(news, context, { create: false });
    return outputsOf(news);
  },

  async delete(context, { id, state }) {
    const pool = state as unknown as PoolInputs;
    await withAgent(pool.agent, (client) => removePool(client, { ...pool, name: id }, context));
  },
};

/** What the host has against a release, but that it is not there yet where the update brings it. */
async function hostFailures(
  { agent, artifact }: PoolInputs,
  start: StartStep,
  creator: string | undefined,
): Promise<Failure[]> {
  const failures = await liveFailures(agent, start, creator);
  return artifact === undefined ? failures : failures.filter(({ property }) => property !== "release.path");
}

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Properties): Properties {
  const known = !containsUnknown(inputs);
  return { ...inputs, live: whenKnown(known, () => expectedPool(inputs as unknown as PoolInputs)) };
}

async function apply(inputs: Properties, context: Context, options: { create: boolean }): Promise<void> {
  const pool = inputs as unknown as PoolInputs;
  const start = startStep(inputs, context);
  if (pool.strategy === "in-place") await replaceInPlace(pool, start, context, options);
  else await promote(pool, start, context, options);
}

/** What speaks against the gates of a candidate's stages. */
async function canaryFailures({ agent, edge, canary }: PoolInputs, context: Context): Promise<Failure[]> {
  if (canary === undefined) return [];
  const failures = [
    ...(await meterFailures(agent, edge === undefined ? [] : [edge], canary.stages)),
    ...(await gateFailures(canary.stages, context)),
  ];
  return failures.map(({ property, reason }) => ({ property: `canary.${property}`, reason }));
}

/** Says in a preview what the update will do; silent while parts of it are not known. */
async function sayPlan(before: Properties | undefined, after: Properties, context: Context): Promise<void> {
  if (containsUnknown(before) || containsUnknown(after)) return;
  const [old, pool] = [before as unknown as PoolInputs | undefined, after as unknown as PoolInputs];
  const plan =
    pool.serves !== undefined && pool.watch !== undefined && (await restarts(old, after, context))
      ? inPlacePlan(
          pool,
          pool.watch,
          { ...pool.serves, edges: pool.serves.edges.map(({ edge }) => edge) },
          old?.release.id,
        )
      : promotionPlan(old, pool);
  context.log.info([...plan, ...(await takeoverOf(pool, after, context))].join("\n  "));
  if (pool.canary !== undefined || old?.canary !== undefined) await sayWalk(old, pool, context);
}

/** What of the world before it the pool would end. */
async function takeoverOf({ agent, takeover }: PoolInputs, after: Properties, context: Context): Promise<string[]> {
  if (takeover === undefined) return [];
  const plan = withAgent(agent, (client) => client.plan(startStep(after, context)));
  const answer = await plan.catch((error: unknown) => {
    if (error instanceof UnreachableError) return undefined;
    throw error;
  });
  return answer?.takeover ?? [];
}

/** Says which stages a candidate walks through, from where it is now. */
async function sayWalk(old: PoolInputs | undefined, pool: PoolInputs, context: Context): Promise<void> {
  const now = await withAgent(pool.agent, (client) => client.pool(pool.name)).catch((error: unknown) => {
    if (error instanceof UnreachableError) return undefined;
    throw error;
  });
  const anew = old === undefined || startsAnew(old, pool);
  const walk = walkOf(anew ? undefined : now, pool.canary);
  const problem = walkProblem(walk);
  if (problem !== undefined) throw new Error(`pool ${pool.name}: ${problem}`);
  const lines = canaryPlan(old, pool, walk);
  if (lines.length > 0) context.log.info(lines.join("\n  "));
  const early = soakWarning(walk, now?.canary?.since, Date.now());
  if (early !== undefined && now !== undefined) context.log.warn(early);
}

/** Whether a pool in place will be restarted: what its agent says, or where that can't be asked, what is recorded. */
async function restarts(before: PoolInputs | undefined, after: Properties, context: Context): Promise<boolean> {
  const { agent } = after as unknown as PoolInputs;
  const recorded = before?.release.id !== (after as unknown as PoolInputs).release.id ? "restart" : "nothing";
  const plan = withAgent(agent, (client) => client.plan(startStep(after, context)));
  const { how } = await plan.catch((error: unknown) => {
    if (error instanceof UnreachableError) return { how: recorded };
    throw error;
  });
  return how === "restart";
}

/** The step that starts the declared release, with the names of the environment variables that are secret. */
function startStep(inputs: Properties, context: Context) {
  const {
    canary,
    agent: _agent,
    name: pool,
    artifact: _artifact,
    serves: _serves,
    watch: _watch,
    live: _live,
    change: _change,
    secretNames: _names,
    ...declared
  } = inputs as unknown as PoolInputs;
  const spec = forAgent(declared, poolDeclarations);
  const tried = candidateShare(canary) > 0 && canary !== undefined ? { canary: canary.release } : {};
  return { verb: "pool.start" as const, pool, spec, secrets: secretNames(inputs, context), ...tried };
}

/** The environment variables by process whose values are secret. */
function secretNames(inputs: Properties, { secrets: paths }: Context): Record<string, string[]> {
  const { processes } = inputs as unknown as Partial<PoolInputs>;
  const secrets: Record<string, string[]> = {};
  for (const path of paths) {
    const [first, process, third, variable] = parsePath(path).map(String);
    if (first !== "processes" || process === undefined || third !== "env") continue;
    const names = variable === undefined ? Object.keys(processes?.[process]?.env ?? {}) : [variable];
    secrets[process] = [...(secrets[process] ?? []), ...names];
  }
  return secrets;
}

/** Secrets may be in environments only: everything else ends up in process listings, configs or logs. */
function secretFailures(paths: readonly string[]): Failure[] {
  return paths.flatMap((path) => {
    const [first, , third] = parsePath(path).map(String);
    if (first === "processes" && third === "env") return [];
    return [
      {
        property: path,
        reason: "is secret, but would be seen in process listings, configs or logs: pass it in the process's env",
      },
    ];
  });
}
