import { type EdgeSpec, edgeSpec, listensOn } from "../../model/edge/edge";
import { edgeParts, hostPort } from "../../model/protocol/live";
import type { Claim } from "../../model/protocol/ownership";
import { name } from "../../model/types/names";
import { type Comparison, committedDifferences, comparison } from "../changes/committed";
import { logPlan } from "../changes/plan";
import { checkedOnHost } from "../checks/host-check";
import { differences, moveFailures, parseInputs, renameFailures } from "../checks/inputs";
import { eachWhenKnown, whenKnown } from "../checks/known";
import { noteMeter } from "../checks/metered";
import { repairedByConverging, warnOfOutages } from "../checks/outage-warning";
import {
  changeClaim,
  createClaim,
  type Declared,
  ownerAfter,
  ownerInPreview,
  ownerSeen,
  removeClaim,
  stillOwns,
} from "../checks/ownership";
import { inTransaction } from "../rollout/transaction";
import { type Context, containsUnknown, type Properties, type Resource } from "../server";
import { type AgentRef, agentRef, askAgent, targetOn, withAgent } from "./agent-ref";

interface Inputs extends EdgeSpec {
  agent: AgentRef;
  name: string;
}

/** A HAProxy instance of an agent. */
export const edgeResource: Resource = {
  type: "sluice:index:Edge",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, { own: { agent: agentRef, name }, spec: edgeSpec });
    failures.push(...renameFailures(olds, values), ...moveFailures(olds, values, ["agent.directory"]));
    const { agent, name: edge, meter } = values as unknown as Inputs;
    if (failures.length === 0 && !containsUnknown([agent, edge])) noteMeter(agent, edge, meter);
    return checkedOnHost(context, olds, { failures, values, known }, setStep, expectedLive);
  },

  async diff(context, request) {
    await logOutages(context, request.news);
    const entries = differences(request, { ignored: ["agent.socket"], expected: expectedLive });
    return { entries: [...entries, ...(await committedDifferences(context, request, entries, comparisons))] };
  },

  async create(context, { inputs }) {
    if (context.preview) {
      await logPlan(inputs, setStep, context, { create: true });
      return { outputs: outputsOf(inputs) };
    }
    const claim = createClaim();
    await apply(inputs, context, claim);
    return { id: String(inputs.name), outputs: { ...outputsOf(inputs), ...ownerAfter(context, claim) } };
  },

  async read(context, { id, inputs, state }) {
    const { agent } = state as unknown as Partial<Inputs>;
    return askAgent(agent, context, { id, inputs, outputs: state }, async (client) => {
      const edge = await client.edge(id);
      if (edge === undefined || !stillOwns(edge, state, { what: `edge ${id}`, log: context.log })) return undefined;
      return { id, inputs, outputs: { ...state, live: edge.live, ...ownerSeen(edge, state) } };
    });
  },

  async update(context, { olds, news }) {
    if (context.preview) {
      await logPlan(news, setStep, context);
      return { ...outputsOf(news), ...ownerInPreview(olds) };
    }
    const claim = changeClaim(olds);
    await apply(news, context, claim);
    return { ...outputsOf(news), ...ownerAfter(context, claim) };
  },

  targets(properties) {
    const { agent, name: edge } = properties as unknown as Inputs;
    return [targetOn(agent, `edge/${edge}`)];
  },

  removal(state) {
    const inputs = state as unknown as Inputs;
    const addresses = listensOn(inputs).map(({ address, port }) => hostPort(address, port));
    return `stops edge ${inputs.name}: its HAProxy, traffic to ${addresses.join(", ")} ends`;
  },

  async delete(context, { id, state }) {
    await withAgent((state as unknown as Inputs).agent, async (client) => {
      const edge = await client.edge(id);
      if (edge === undefined || !stillOwns(edge, state, { what: `edge ${id}`, log: context.log })) return;
      await inTransaction(
        client,
        `edge/${id}`,
        context,
        async (run) => {
          await run({ verb: "edge.remove", edge: id });
        },
        { claim: removeClaim(state) },
      );
    });
  },
};

/** Warns of requests that a frontend leads to a backend which can't take them. */
async function logOutages(context: Context, news: Properties): Promise<void> {
  if (containsUnknown(news)) return;
  const { agent, name: edge, frontends } = news as unknown as Inputs;
  const leads = (to: string) => Object.values(frontends).some(({ defaultBackend }) => defaultBackend === to);
  await warnOfOutages(context, {
    agent,
    edge,
    concerns: (_, { from }) => from.some((method) => method.startsWith("frontend ")),
    repairedBy: (backend, health) =>
      leads(backend) ? repairedByConverging(health) : "leads the requests of its frontends elsewhere",
  });
}

function comparisons(inputs: Properties): Comparison[] {
  return [comparison(inputs.agent as AgentRef, setStep(inputs))];
}

function setStep(inputs: Properties) {
  const {
    agent: _agent,
    name: edge,
    live: _live,
    declaredBy: _by,
    ...spec
  } = inputs as unknown as Inputs & { live: unknown } & Declared;
  return { verb: "edge.set" as const, edge, spec };
}

async function apply(inputs: Properties, context: Context, claim: Claim): Promise<void> {
  const { agent, name: edge } = inputs as unknown as Inputs;
  await withAgent(agent, (client) =>
    inTransaction(
      client,
      `edge/${edge}`,
      context,
      async (run) => {
        await run(setStep(inputs));
      },
      { claim },
    ),
  );
}

/** The inputs, reality as it now must be, and the address of the first listener for others to use. */
function outputsOf(inputs: Properties): Properties {
  const address = whenKnown(inputs as unknown as Inputs, ({ frontends, metrics }) => {
    const [first] = listensOn({ frontends, metrics });
    return first === undefined ? undefined : hostPort(first.address, first.port);
  });
  return { ...inputs, live: expectedLive(inputs), address };
}

/** Reality as it must be, as far as it can be told. */
function expectedLive(inputs: Properties) {
  return eachWhenKnown(inputs as unknown as Inputs, edgeParts);
}
