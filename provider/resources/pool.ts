import { expectedPool, type PoolLive } from "../../model/live";
import { name } from "../../model/names";
import { type PoolSpec, poolSpecWith } from "../../model/pool";
import { promotionPlan } from "../../model/promotion-plan";
import { type Context, containsUnknown, type Failure, type Properties, parsePath, type Resource } from "../server";
import { type AgentRef, agentRef, askAgent, liveFailures, withAgent } from "./agent-ref";
import { differences, parseInputs, renameFailures, whenKnown, withLive } from "./inputs";
import { promote } from "./promotion";
import { inTransaction } from "./transaction";

export interface PoolInputs extends PoolSpec {
  agent: AgentRef;
  name: string;
  /** What changes, for policies: they see new inputs only. */
  change: { from: string; to: string };
  live: PoolLive;
}

/** The processes of a release on a host, and the backend that they serve. A new release is promoted side by side. */
export const poolResource: Resource = {
  type: "sluice:index:Pool",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, {
      own: { agent: agentRef, name },
      spec: poolSpecWith(secretNames(news, context)),
    });
    failures.push(...renameFailures(olds, values));
    const secret = secretFailures(context.secrets);
    const valid = known && failures.length === 0 && secret.length === 0;
    const inputs = values as unknown as PoolInputs;
    const live = valid
      ? await liveFailures(inputs.agent, startStep(values, context), olds === undefined ? context.urn : undefined)
      : [];
    const from = (olds as unknown as PoolInputs | undefined)?.release?.id ?? "";
    return {
      failures: [...failures, ...secret, ...live],
      inputs: {
        ...withLive(
          values,
          olds,
          whenKnown(valid, () => expectedPool(inputs)),
        ),
        change: whenKnown(valid, () => ({ from, to: inputs.release.id })),
      },
    };
  },

  async diff(_context, request) {
    return {
      entries: differences(request, {
        replacing: ["edge", "agent.directory"],
        ignored: ["agent.socket"],
        expected: (inputs) => expectedPool(inputs as unknown as PoolInputs),
      }),
      deleteBeforeReplace: true,
    };
  },

  async create(context, { inputs }) {
    if (context.preview) sayPlan(undefined, inputs, context);
    else await promote(inputs as unknown as PoolInputs, startStep(inputs, context), context, { create: true });
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
    if (context.preview) sayPlan(oldInputs, news, context);
    else await promote(news as unknown as PoolInputs, startStep(news, context), context);
    return outputsOf(news);
  },

  async delete(context, { id, state }) {
    const { agent } = state as unknown as PoolInputs;
    await withAgent(agent, async (client) => {
      if ((await client.pool(id)) !== undefined)
        await inTransaction(client, `pool/${id}`, context, async (run) => {
          await run({ verb: "pool.remove", pool: id });
        });
      context.log.progress("draining, then stopping its processes");
      await client.settle(id, context.signal);
    });
  },
};

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Properties): Properties {
  const known = !containsUnknown(inputs);
  return { ...inputs, live: whenKnown(known, () => expectedPool(inputs as unknown as PoolInputs)) };
}

/** Says in a preview what the update will do; silent while parts of it are not known. */
function sayPlan(before: Properties | undefined, after: Properties, { log }: Context): void {
  if (containsUnknown(before) || containsUnknown(after)) return;
  log.info(promotionPlan(before as unknown as PoolInputs | undefined, after as unknown as PoolInputs).join("\n  "));
}

/** The step that starts the declared release, with the names of the environment variables that are secret. */
function startStep(inputs: Properties, context: Context) {
  const { agent: _agent, name: pool, live: _live, change: _change, ...spec } = inputs as unknown as PoolInputs;
  return { verb: "pool.start" as const, pool, spec, secrets: secretNames(inputs, context) };
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
