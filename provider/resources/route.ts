import { UnreachableError } from "../../agent/client/connection";
import { expectedRoute, type RouteLive } from "../../model/live";
import { name } from "../../model/names";
import { type DeclaredRoute, declaredRoute, routeAt } from "../../model/route";
import { formatSplit } from "../../model/split";
import { explainWalk, splitOf, walkProblem } from "../../model/stages";
import { type Context, containsUnknown, type Properties, type Resource } from "../server";
import { type AgentRef, agentRef, askAgent, liveFailures, withAgent } from "./agent-ref";
import { queryFailures } from "./gate-checks";
import { asRecorded, differences, parseInputs, renameFailures, whenKnown, withLive } from "./inputs";
import { meterFailures } from "./metered";
import { sayPlan } from "./plan";
import { runGates } from "./stage-gates";
import { inTransaction } from "./transaction";
import { walkFrom, walkRoute } from "./walk";

interface Inputs extends DeclaredRoute {
  agent: AgentRef;
  name: string;
  /** What changes, for policies: they see new inputs only. */
  change: { from: string; to: string };
  live: RouteLive;
}

/** Which requests go to which backend, and the stages in which they go over to another one. */
export const routeResource: Resource = {
  type: "sluice:index:Route",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, { own: { agent: agentRef, name }, spec: declaredRoute });
    const inputs = values as unknown as Inputs;
    const parsed = known && failures.length === 0;
    const more = parsed ? renameFailures(olds, values) : [];
    const valid = parsed && more.length === 0;
    const live =
      valid && !asRecorded(olds, values)
        ? [
            ...(await liveFailures(inputs.agent, setStep(values), olds === undefined ? context.urn : undefined)),
            ...(await meterFailures(inputs.agent, inputs.edges, inputs.stages)),
            ...(await queryFailures(inputs.stages, context)),
          ]
        : [];
    return {
      failures: [...failures, ...more, ...live],
      inputs: {
        ...withLive(
          values,
          olds,
          whenKnown(valid, () => expectedRoute(inputs, target(inputs))),
        ),
        change: whenKnown(valid, () => ({
          from: formatSplit(recordedSplit(olds as unknown as Inputs | undefined, inputs)),
          to: formatSplit(target(inputs)),
        })),
      },
    };
  },

  async diff(_context, request) {
    return {
      entries: differences(request, {
        replacing: ["agent.directory"],
        ignored: ["agent.socket"],
        expected: (inputs) => outputsOf(inputs).live,
      }),
      deleteBeforeReplace: true,
    };
  },

  async create(context, { inputs }) {
    if (context.preview) {
      await sayWalk(inputs, context);
      return { outputs: outputsOf(inputs) };
    }
    await apply(inputs, context, { create: true });
    return { id: String(inputs.name), outputs: outputsOf(inputs) };
  },

  async read(context, { id, inputs, state }) {
    const { agent } = state as unknown as Partial<Inputs>;
    return askAgent(agent, context, { id, inputs, outputs: state }, async (client) => {
      const route = await client.route(id);
      if (route === undefined) return undefined;
      const splits = Object.entries(route.splits).map(([edge, split]) => [
        edge,
        split === null ? "none" : formatSplit(split),
      ]);
      return { id, inputs, outputs: { ...state, live: { splits: Object.fromEntries(splits) } } };
    });
  },

  async update(context, { news }) {
    if (context.preview) await sayWalk(news, context);
    else await apply(news, context, { create: false });
    return outputsOf(news);
  },

  async delete(context, { id, state }) {
    const { agent } = state as unknown as Inputs;
    await withAgent(agent, async (client) => {
      if ((await client.route(id)) === undefined) return;
      await inTransaction(client, `route/${id}`, context, async (run) => {
        await run({ verb: "route.remove", route: id });
      });
    });
  },
};

function declaredOf(inputs: Properties): DeclaredRoute {
  const { agent: _agent, name: _name, live: _live, change: _change, ...declared } = inputs as unknown as Inputs;
  return declared;
}

/** The split of the stage to be in. */
function target({ stages, stage }: Pick<DeclaredRoute, "stages" | "stage">): number {
  return splitOf(stages, stage) ?? 0;
}

function recordedSplit(olds: Inputs | undefined, news: Inputs): number {
  if (olds?.stages === undefined || olds.candidate !== news.candidate) return 0;
  return target(olds);
}

function setStep(inputs: Properties) {
  const declared = declaredOf(inputs);
  return {
    verb: "route.set" as const,
    route: String(inputs.name),
    spec: routeAt(declared, target(declared)),
  };
}

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Properties): Properties {
  const known = !containsUnknown(inputs);
  const declared = inputs as unknown as Inputs;
  return { ...inputs, live: whenKnown(known, () => expectedRoute(declared, target(declared))) };
}

/** Says in a preview which stages an update walks through, and how it reaches HAProxy; silent while parts are not known. */
async function sayWalk(inputs: Properties, context: Context): Promise<void> {
  if (containsUnknown(inputs)) return;
  const { agent, name: route } = inputs as unknown as Inputs;
  const declared = declaredOf(inputs);
  // Where the agent can't be asked, the change since the last update is what is known.
  const recorded = (inputs as unknown as Inputs).change;
  const now = await withAgent(agent, (client) => client.route(route)).catch((error: unknown) => {
    if (error instanceof UnreachableError) return undefined;
    throw error;
  });
  const walk = walkFrom(now, declared);
  const problem = walkProblem(walk);
  if (problem !== undefined) throw new Error(`route ${route}: ${problem}`);
  context.log.info(explainWalk(walk, declared).join("\n  "));
  if (now === undefined && recorded.from !== formatSplit(walk.from))
    context.log.warn(
      `the agent can't be asked where route ${route} is: it was at ${recorded.from} after the last update`,
    );
  await sayPlan(inputs, setStep, context);
}

async function apply(inputs: Properties, context: Context, { create }: { create: boolean }): Promise<void> {
  const { agent, name: route } = inputs as unknown as Inputs;
  await withAgent(agent, (client) => walkRoute(client, route, declaredOf(inputs), context, { create, runGates }));
}
