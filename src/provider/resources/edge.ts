import { type EdgeSpec, edgeSpec, listensOn } from "../../model/edge/edge";
import { type EdgeLive, edgeParts, hostPort } from "../../model/protocol/live";
import { name } from "../../model/types/names";
import { allDifferences, type Comparison, comparison } from "../changes/committed";
import { logPlan } from "../changes/plan";
import { checkedOnHost } from "../checks/host-check";
import { moveFailures, parseInputs, renameFailures } from "../checks/inputs";
import { eachWhenKnown, whenKnown } from "../checks/known";
import { noteMeter } from "../checks/metered";
import { repairedByConverging, warnOfOutages, warnOfSharers } from "../checks/outage-warning";
import type { Declared } from "../checks/ownership";
import { type Context, containsUnknown, type Outputs, type Resource } from "../server";
import { type AgentRef, agentRef, targetOn } from "./agent-ref";
import { applyStep, ownedChanges, ownedRead, removeOwned } from "./owned";

interface Inputs extends EdgeSpec, Declared {
  agent: AgentRef;
  name: string;
  live?: EdgeLive;
}

interface State extends Inputs {
  live: EdgeLive;
  /** Of the first listener. */
  address?: string | undefined;
}

/** A HAProxy instance of an agent. */
export const edgeResource: Resource<Inputs, State> = {
  type: "sluice:index:Edge",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, { own: { agent: agentRef, name }, spec: edgeSpec });
    failures.push(...renameFailures(olds, values), ...moveFailures(olds, values, ["agent.directory"]));
    const { agent, name: edge, meter } = values;
    if (failures.length === 0 && !containsUnknown([agent, edge])) noteMeter(agent, edge, meter);
    return checkedOnHost(context, olds, { failures, values, known }, setStep, expectedLive);
  },

  async diff(context, request) {
    await logOutages(context, request.news);
    const ignored = ["agent.socket"];
    return { entries: await allDifferences(context, request, { ignored, expected: expectedLive, comparisons }) };
  },

  ...ownedChanges<Inputs, State>({
    id: (inputs) => inputs.name,
    plan: (news, context, before) => logPlan(news, setStep, context, { create: before === undefined }),
    apply: (news, context, claim) => applyStep(news.agent, setStep(news), context, claim),
    outputsOf,
  }),

  read: ownedRead("edge", (client, id) => client.edge(id)),

  targets({ agent, name: edge }) {
    return [targetOn(agent, `edge/${edge}`)];
  },

  removal(state) {
    const addresses = listensOn(state).map(({ address, port }) => hostPort(address, port));
    return `stops edge ${state.name}: its HAProxy, traffic to ${addresses.join(", ")} ends`;
  },

  async delete(context, { id, state }) {
    await removeOwned(state, context, {
      what: `edge ${id}`,
      find: (client) => client.edge(id),
      step: { verb: "edge.remove", edge: id },
    });
  },
};

/** Warns of requests that a frontend leads to a backend which can't take them. */
async function logOutages(context: Context, news: Inputs): Promise<void> {
  if (containsUnknown(news)) return;
  const { agent, name: edge, frontends } = news;
  await warnOfSharers(context, { agent, edge });
  const leads = (to: string) => Object.values(frontends).some(({ defaultBackend }) => defaultBackend === to);
  await warnOfOutages(context, {
    agent,
    edge,
    concerns: (_, { from }) => from.some((method) => method.startsWith("frontend ")),
    repairedBy: (backend, health) =>
      leads(backend) ? repairedByConverging(health) : "leads the requests of its frontends elsewhere",
  });
}

function comparisons(inputs: Inputs): Comparison[] {
  return [comparison(inputs.agent, setStep(inputs))];
}

function setStep({ agent: _agent, name: edge, live: _live, declaredBy: _by, ...spec }: Inputs) {
  return { verb: "edge.set" as const, edge, spec };
}

/** The inputs, reality as it now must be, and the address of the first listener for others to use. */
function outputsOf(inputs: Inputs): Outputs<State> {
  const address = whenKnown(inputs, ({ frontends, metrics }) => {
    const [first] = listensOn({ frontends, metrics });
    return first === undefined ? undefined : hostPort(first.address, first.port);
  });
  return { ...inputs, live: expectedLive(inputs), address };
}

/** Reality as it must be, as far as it can be told. */
function expectedLive(inputs: Inputs) {
  return eachWhenKnown(inputs, edgeParts);
}
