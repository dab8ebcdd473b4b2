import { type BackendSpec, backendSpec } from "../../model/edge/backend";
import { backendDeclarations, forAgent } from "../../model/policy/declared";
import { type BackendLive, serverParts } from "../../model/protocol/live";
import { name } from "../../model/types/names";
import { allDifferences, type Comparison, comparison } from "../changes/committed";
import { logPlan } from "../changes/plan";
import { checkedOnHost } from "../checks/host-check";
import { moveFailures, parseInputs, renameFailures } from "../checks/inputs";
import { eachWhenKnown } from "../checks/known";
import { warnOfOutages } from "../checks/outage-warning";
import type { Declared } from "../checks/ownership";
import { observeBackend } from "../checks/shared-status";
import { type Context, containsUnknown, isUnknown, type Outputs, type Resource } from "../server";
import { type AgentRef, agentRef, targetOn } from "./agent-ref";
import { applyStep, ownedChanges, ownedRead, removeOwned } from "./owned";

interface Inputs extends BackendSpec, Declared {
  agent: AgentRef;
  edge: string;
  name: string;
  live?: BackendLive;
}

interface State extends Inputs {
  live: BackendLive;
}

/** A HAProxy backend with servers that something else runs. */
export const backendResource: Resource<Inputs, State> = {
  type: "sluice:index:Backend",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, {
      own: { agent: agentRef, edge: name, name, ...backendDeclarations },
      spec: backendSpec,
    });
    failures.push(...renameFailures(olds, values), ...moveFailures(olds, values, ["edge", "agent.directory"]));
    return checkedOnHost(context, olds, { failures, values, known }, setStep, expectedLive);
  },

  async diff(context, request) {
    await sayOutage(context, request.news);
    const ignored = ["agent.socket", ...Object.keys(backendDeclarations)];
    return { entries: await allDifferences(context, request, { ignored, expected: expectedLive, comparisons }) };
  },

  ...ownedChanges<Inputs, State>({
    id: ({ edge, name: backend }) => `${edge}/${backend}`,
    plan: (news, context, before) => logPlan(news, setStep, context, { create: before === undefined }),
    apply: (news, context, claim) => applyStep(news.agent, setStep(news), context, claim),
    outputsOf,
  }),

  read: ownedRead("backend", observeBackend),

  targets({ agent, edge, name: backend }) {
    return [targetOn(agent, `backend/${edge}/${backend}`)];
  },

  removal({ edge, name: backend }) {
    return `ends backend ${backend} of edge ${edge}: requests to it are then answered with 503`;
  },

  async delete(context, { state }) {
    const { edge, name: backend } = state;
    await removeOwned(state, context, {
      what: `backend ${edge}/${backend}`,
      find: (client) => client.backend(edge, backend),
      step: { verb: "backend.remove", edge, backend },
    });
  },
};

/** Warns where no server takes the requests that are led to the backend. */
async function sayOutage(context: Context, news: Inputs): Promise<void> {
  if (containsUnknown(news)) return;
  const { agent, edge, name: backend, servers } = news;
  await warnOfOutages(context, {
    agent,
    edge,
    concerns: (name) => name === backend,
    repairedBy: (_, health) => {
      const down = new Set(health.servers.flatMap(({ name, out }) => (out?.startsWith("DOWN") ? [name] : [])));
      const taking = Object.entries(servers).flatMap(([name, { state, weight }]) =>
        state === "ready" && weight > 0 && !down.has(name) ? [name] : [],
      );
      return taking.length === 0 ? undefined : `has ${taking.join(", ")} take requests`;
    },
  });
}

function comparisons(inputs: Inputs): Comparison[] {
  return [comparison(inputs.agent, setStep(inputs))];
}

function setStep({ agent: _agent, edge, name: backend, live: _live, declaredBy: _by, ...declared }: Inputs) {
  return { verb: "backend.set" as const, edge, backend, spec: forAgent(declared, backendDeclarations) };
}

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Inputs): Outputs<State> {
  return { ...inputs, live: expectedLive(inputs) };
}

/** Reality as it must be, server by server, as far as it can be told. */
function expectedLive({ servers }: Inputs) {
  if (isUnknown(servers)) return { servers };
  const live = Object.entries(servers).map(([server, spec]) => [server, eachWhenKnown(spec, serverParts)]);
  return { servers: Object.fromEntries(live) };
}
