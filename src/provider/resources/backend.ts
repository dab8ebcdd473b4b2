import { type BackendSpec, backendSpec } from "../../model/edge/backend";
import { backendDeclarations, forAgent } from "../../model/policy/declared";
import { serverParts } from "../../model/protocol/live";
import type { Claim } from "../../model/protocol/ownership";
import { name } from "../../model/types/names";
import { type Comparison, committedDifferences, comparison } from "../changes/committed";
import { logPlan } from "../changes/plan";
import { checkedOnHost } from "../checks/host-check";
import { differences, moveFailures, parseInputs, renameFailures } from "../checks/inputs";
import { eachWhenKnown } from "../checks/known";
import { warnOfOutages } from "../checks/outage-warning";
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
import { observeBackend } from "../checks/shared-status";
import { inTransaction } from "../rollout/transaction";
import { type Context, containsUnknown, isUnknown, type Properties, type Resource } from "../server";
import { type AgentRef, agentRef, askAgent, targetOn, withAgent } from "./agent-ref";

interface Inputs extends BackendSpec {
  agent: AgentRef;
  edge: string;
  name: string;
}

/** A HAProxy backend with servers that something else runs. */
export const backendResource: Resource = {
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
    const entries = differences(request, {
      ignored: ["agent.socket", ...Object.keys(backendDeclarations)],
      expected: expectedLive,
    });
    return { entries: [...entries, ...(await committedDifferences(context, request, entries, comparisons))] };
  },

  async create(context, { inputs }) {
    if (context.preview) {
      await logPlan(inputs, setStep, context, { create: true });
      return { outputs: outputsOf(inputs) };
    }
    const claim = createClaim();
    await apply(inputs, context, claim);
    const { edge, name: backend } = inputs as unknown as Inputs;
    return { id: `${edge}/${backend}`, outputs: { ...outputsOf(inputs), ...ownerAfter(context, claim) } };
  },

  async read(context, { id, inputs, state }) {
    const { agent } = state as unknown as Partial<Inputs>;
    return askAgent(agent, context, { id, inputs, outputs: state }, async (client) => {
      const found = await observeBackend(client, id);
      if (found === undefined || !stillOwns(found, state, { what: `backend ${id}`, log: context.log }))
        return undefined;
      return { id, inputs, outputs: { ...state, live: found.live, ...ownerSeen(found, state) } };
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
    const { agent, edge, name: backend } = properties as unknown as Inputs;
    return [targetOn(agent, `backend/${edge}/${backend}`)];
  },

  removal(state) {
    const { edge, name: backend } = state as unknown as Inputs;
    return `ends backend ${backend} of edge ${edge}: traffic that is led there ends, with 503`;
  },

  async delete(context, { state }) {
    const { agent, edge, name: backend } = state as unknown as Inputs;
    await withAgent(agent, async (client) => {
      const found = await client.backend(edge, backend);
      const what = `backend ${edge}/${backend}`;
      if (found === undefined || !stillOwns(found, state, { what, log: context.log })) return;
      await inTransaction(
        client,
        `backend/${edge}/${backend}`,
        context,
        async (run) => {
          await run({ verb: "backend.remove", edge, backend });
        },
        { claim: removeClaim(state) },
      );
    });
  },
};

/** Warns where no server takes the requests that are led to the backend. */
async function sayOutage(context: Context, news: Properties): Promise<void> {
  if (containsUnknown(news)) return;
  const { agent, edge, name: backend, servers } = news as unknown as Inputs;
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

function comparisons(inputs: Properties): Comparison[] {
  return [comparison(inputs.agent as AgentRef, setStep(inputs))];
}

function setStep(inputs: Properties) {
  const {
    agent: _agent,
    edge,
    name: backend,
    live: _live,
    declaredBy: _by,
    ...declared
  } = inputs as unknown as Inputs & { live: unknown } & Declared;
  return { verb: "backend.set" as const, edge, backend, spec: forAgent(declared, backendDeclarations) };
}

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Properties): Properties {
  return { ...inputs, live: expectedLive(inputs) };
}

/** Reality as it must be, server by server, as far as it can be told. */
function expectedLive(inputs: Properties) {
  const { servers } = inputs as unknown as Inputs;
  if (isUnknown(servers)) return { servers };
  const live = Object.entries(servers).map(([server, spec]) => [server, eachWhenKnown(spec, serverParts)]);
  return { servers: Object.fromEntries(live) };
}

async function apply(inputs: Properties, context: Context, claim: Claim): Promise<void> {
  const { agent, edge, name: backend } = inputs as unknown as Inputs;
  await withAgent(agent, (client) =>
    inTransaction(
      client,
      `backend/${edge}/${backend}`,
      context,
      async (run) => {
        await run(setStep(inputs));
      },
      { claim },
    ),
  );
}
