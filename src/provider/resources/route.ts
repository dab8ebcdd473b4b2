import type { RouteAnswer } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import { UnreachableError } from "../../agent/client/connection";
import { mirroredOf, type RouteChange } from "../../model/policy/change";
import { forAgent, routeDeclarations } from "../../model/policy/declared";
import type { Parts, RouteLive } from "../../model/protocol/live";
import { type Claim, owns } from "../../model/protocol/ownership";
import { type DeclaredRoute, declaredRoute } from "../../model/route/route";
import { formatSplit, type Percent, SPLIT_PARTS } from "../../model/route/split";
import { describeRollout, positionOf, rolloutProblem, type StagePosition, soakWarning } from "../../model/route/stages";
import { name } from "../../model/types/names";
import { type Comparison, committedDifferences, comparison } from "../changes/committed";
import { logPlan, logUnknown } from "../changes/plan";
import { changeOf } from "../changes/route-change";
import { gateFailures } from "../checks/gate-checks";
import { asRecorded, differences, parseInputs, renameFailures, withLive } from "../checks/inputs";
import { eachWhenKnown, whenKnown } from "../checks/known";
import { meterFailures } from "../checks/metered";
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
  tokenOf,
} from "../checks/ownership";
import { runOnAll } from "../rollout/all-agents";
import { edgeKeys, hostsOf, otherHosts, type RouteHost, setStep, withHosts } from "../rollout/route-hosts";
import { replacementProblem, rolloutFrom, unchangedSince } from "../rollout/route-position";
import { rollOutRoute } from "../rollout/route-rollout";
import { runGates } from "../rollout/stage-gates";
import { inTransactions } from "../rollout/transaction";
import {
  type Context,
  containsUnknown,
  type Failure,
  isUnknown,
  type Properties,
  type Resource,
  UNKNOWN,
} from "../server";
import { type AgentRef, agentRef, askAgent, liveFailures, targetOn, withAgent } from "./agent-ref";

interface Inputs extends DeclaredRoute {
  /** The agent of `edges`. */
  agent: AgentRef;
  /** Edges of further agents. */
  others?: RouteHost[];
  name: string;
  /** The change, for policies: they see new inputs only. */
  change: RouteChange;
  live: RouteLive;
}

/** A route as an agent has it. */
interface Seen {
  found: RouteAnswer;
  live: RouteLive;
}

/** Routes requests to backends, and moves them to another backend in stages. */
export const routeResource: Resource = {
  type: "sluice:index:Route",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, {
      own: { agent: agentRef, name, others: otherHosts, ...routeDeclarations },
      spec: declaredRoute,
    });
    const inputs = values as unknown as Inputs;
    failures.push(...renameFailures(olds, values));
    const live =
      known && failures.length === 0 && !asRecorded(olds, values)
        ? [
            ...(await hostFailures(inputs, olds as unknown as Inputs | undefined, context.urn)),
            ...(await gateFailures(inputs.stages, context)),
          ]
        : [];
    return {
      failures: [...failures, ...live],
      inputs: {
        ...withLive(values, olds, failures.length > 0 ? UNKNOWN : expectedLive(inputs), context.urn),
        change:
          failures.length > 0
            ? UNKNOWN
            : await changeOf(olds as unknown as Inputs | undefined, inputs, () => setSteps(inputs)),
      },
    };
  },

  async diff(context, request) {
    await logOutages(context, request.news);
    const entries = differences(request, {
      ignored: ["agent.socket", ...Object.keys(routeDeclarations)],
      expected: (inputs) => expectedLive(inputs as unknown as Inputs),
    });
    return { entries: [...entries, ...(await committedDifferences(context, request, entries, comparisons))] };
  },

  async create(context, { inputs }) {
    if (context.preview) {
      await logRollout(inputs, context, { create: true });
      return { outputs: outputsOf(inputs) };
    }
    const claim = createClaim();
    await apply(inputs, context, { claim });
    return { id: String(inputs.name), outputs: { ...outputsOf(inputs), ...ownerAfter(context, claim) } };
  },

  async read(context, { id, inputs, state }) {
    const known = state as unknown as Inputs;
    if (known.agent === undefined) return askAgent(undefined, context, undefined, async () => undefined);
    const hosts = hostsOf(known);
    // For an agent that can't be asked, show the last known state of its edges.
    const observed = await Promise.all(hosts.map((host) => liveOn(host, id, context)));
    const reached = observed.flatMap((seen) => (seen === undefined || seen === "unreachable" ? [] : [seen]));
    if (!observed.includes("unreachable") && !reached.some(({ found }) => owns(found.owner, tokenOf(state)))) {
      const [first] = reached;
      if (first !== undefined) stillOwns(first.found, state, { what: `route ${id}`, log: context.log });
      return undefined;
    }
    const all = (part: keyof RouteLive) =>
      Object.fromEntries(
        edgeKeys(hosts).map(({ host, edge, key }) => {
          const seen = observed[hosts.indexOf(host)];
          return [key, seen === "unreachable" ? known.live?.[part]?.[key] : (seen?.live[part]?.[edge] ?? "none")];
        }),
      );
    const mirrored = observed.some((seen) => (seen === "unreachable" ? known.live : seen?.live)?.mirrors !== undefined);
    const live = { splits: all("splits"), ...(mirrored && { mirrors: all("mirrors") }) };
    // An update that died between two agents' commits may have taken it over on one of them.
    const odd = reached.find(({ found }) => !owns(found.owner, tokenOf(state))) ?? reached[0];
    return { id, inputs, outputs: { ...state, live, ...ownerSeen(odd?.found ?? {}, state) } };
  },

  async update(context, { olds, news }) {
    if (context.preview) {
      await logRollout(news, context);
      return { ...outputsOf(news), ...ownerInPreview(olds) };
    }
    const claim = changeClaim(olds);
    await apply(news, context, { claim, olds: olds as unknown as Inputs });
    return { ...outputsOf(news), ...ownerAfter(context, claim) };
  },

  targets(properties) {
    const inputs = properties as unknown as Inputs;
    return hostsOf(inputs).map(({ agent }) => targetOn(agent, `route/${inputs.name}`));
  },

  removal(state) {
    const { name: route, live } = state as unknown as Inputs;
    const splits = [...new Set(Object.values(live.splits))].join(" and ");
    return `ends route ${route}: its traffic (${splits} of it to the candidate) goes to the frontends' own backends at once`;
  },

  async delete(context, { id, state, declares }) {
    const left = hostsOf(state as unknown as Inputs).filter(({ agent }) => !declares(targetOn(agent, `route/${id}`)));
    await withHosts(left, async (hosts) => {
      const here = await Promise.all(hosts.map(({ client }) => isOwnOn(client, id, state, context)));
      const claim = removeClaim(state);
      const parts = hosts
        .filter((_, index) => here[index])
        .map(({ client }) => ({ client, target: `route/${id}` as const, claim }));
      if (parts.length > 0)
        await inTransactions(parts, context, (open) => runOnAll(open, () => ({ verb: "route.remove", route: id })));
    });
  },
};

/** Warns of requests that the route leads to a backend which can't take them. */
async function logOutages(context: Context, news: Properties): Promise<void> {
  if (containsUnknown(news)) return;
  const inputs = news as unknown as Inputs;
  const { split } = target(inputs);
  const leads = (to: string) => (to === inputs.stable && split < SPLIT_PARTS) || (to === inputs.candidate && split > 0);
  for (const { agent, edges } of hostsOf(inputs))
    for (const edge of edges)
      await warnOfOutages(context, {
        agent,
        edge,
        concerns: (_, { from }) => from.includes(`route ${inputs.name}`),
        repairedBy: (backend, health) =>
          leads(backend) ? repairedByConverging(health) : "leads the requests of the route elsewhere",
      });
}

/** The steps that bring all of its agents to what is declared. */
function setSteps(inputs: Inputs) {
  const declared = declaredOf(inputs as unknown as Properties);
  return hostsOf(inputs).map(({ agent, edges }) => ({
    agent,
    step: setStep(inputs.name, declared, edges, target(inputs)),
  }));
}

function comparisons(inputs: Properties): Comparison[] {
  return setSteps(inputs as unknown as Inputs).map(({ agent, step }, index) => ({
    ...comparison(agent, step),
    input: ([first = "", ...rest]) => {
      // Its share is part of what is live.
      if (first === "split") return undefined;
      return index > 0 && first === "edges" ? ["others", index - 1, first, ...rest] : [first, ...rest];
    },
  }));
}

function declaredOf(inputs: Properties): DeclaredRoute {
  const {
    agent: _agent,
    others: _others,
    name: _name,
    live: _live,
    declaredBy: _by,
    change: _change,
    ...declared
  } = inputs as unknown as Inputs & Declared;
  return forAgent(declared, routeDeclarations) as DeclaredRoute;
}

/** Position that the route should reach. */
function target({ stages, stage }: Pick<DeclaredRoute, "stages" | "stage">): StagePosition {
  return positionOf(stages, stage) ?? { split: 0 };
}

const liveParts: Parts<Inputs, RouteLive> = {
  splits: (inputs) => onEveryEdge(inputs, target(inputs).split),
  mirrors: (inputs) => (inputs.mirror === undefined ? undefined : onEveryEdge(inputs, mirroredOf(inputs))),
};

function onEveryEdge(inputs: Inputs, share: number): Record<string, Percent> {
  return Object.fromEntries(edgeKeys(hostsOf(inputs)).map(({ key }) => [key, formatSplit(share)]));
}

/** Reality as it must be, as far as it can be told. */
function expectedLive(inputs: Inputs) {
  return eachWhenKnown(inputs, liveParts);
}

/** Problems that the agents find with the route, each with the property that names the edge. */
async function hostFailures(inputs: Inputs, olds: Inputs | undefined, urn: string): Promise<Failure[]> {
  const declared = declaredOf(inputs as unknown as Properties);
  const each = hostsOf(inputs).map(async ({ agent, edges }, index) => {
    const step = setStep(inputs.name, declared, edges, target(inputs));
    const failures = await liveFailures(agent, step, isOn(olds, agent) ? undefined : urn);
    const unmetered = await meterFailures(agent, edges, inputs.stages);
    if (index === 0) return [...failures, ...unmetered];
    return [...failures, ...unmetered].map(({ property, reason }) => ({
      property: property.startsWith("edges") ? `others[${index - 1}].${property}` : property,
      reason,
    }));
  });
  return (await Promise.all(each)).flat();
}

/** Whether a route was on an agent already. */
function isOn(olds: Inputs | undefined, { directory }: AgentRef): boolean {
  return olds?.agent !== undefined && hostsOf(olds).some(({ agent }) => agent.directory === directory);
}

/** Whether a route is on an agent, and this resource's to remove. */
async function isOwnOn(client: AgentClient, route: string, state: object, { log }: Context): Promise<boolean> {
  const found = await client.route(route);
  return found !== undefined && stillOwns(found, state, { what: `route ${route}`, log });
}

/** An agent's route and the shares on each edge; undefined if the route is not there. */
function liveOn({ agent }: RouteHost, route: string, context: Context) {
  return askAgent<Seen | "unreachable" | undefined>(agent, context, "unreachable", async (client) => {
    const found = await client.route(route);
    if (found === undefined) return undefined;
    const shown = (shares: Record<string, number | null>) =>
      Object.fromEntries(
        Object.entries(shares).map(([edge, share]) => [edge, share === null ? "none" : formatSplit(share)]),
      );
    const { splits, mirrors } = found;
    return { found, live: { splits: shown(splits), ...(mirrors !== undefined && { mirrors: shown(mirrors) }) } };
  });
}

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Properties): Properties {
  return { ...inputs, live: expectedLive(inputs as unknown as Inputs) };
}

/** Logs in a preview which stages an update goes through, and how it reaches HAProxy. */
async function logRollout(inputs: Properties, context: Context, { create = false } = {}): Promise<void> {
  const wanted = inputs as unknown as Inputs;
  const { name: route, change: recorded } = wanted;
  const declared = declaredOf(inputs);
  const hosts = whenKnown(wanted, (known) => hostsOf(known));
  if (isUnknown(hosts) || isUnknown(route)) return logUnknown(inputs, context);
  // For an agent that can't be asked, only the change since the last update is known.
  const now = await Promise.all(
    hosts.map(({ agent }) =>
      withAgent(agent, (client) => client.route(route)).catch((error: unknown) => {
        if (error instanceof UnreachableError) return undefined;
        throw error;
      }),
    ),
  );
  const rollout = whenKnown(declared, (known) => rolloutFrom(now, known));
  const plan = whenKnown(
    { rollout, declared },
    ({ rollout, declared }) => isUnknown(rollout) || describeRollout(rollout, declared),
  );
  if (isUnknown(rollout) || !Array.isArray(plan)) return logUnknown(inputs, context);
  const problem = whenKnown(declared, (known) => replacementProblem(now, known)) ?? rolloutProblem(rollout);
  if (typeof problem === "string") throw new Error(`route ${route}: ${problem}`);
  context.log.info(plan.join("\n  "));
  const since = whenKnown(declared, (known) =>
    unchangedSince(
      now,
      known,
      hosts.map(({ edges }) => edges),
    ),
  );
  const early = isUnknown(since) ? undefined : soakWarning(rollout, since, Date.now());
  if (early !== undefined && !now.includes(undefined)) context.log.warn(early);
  if (now.includes(undefined) && !isUnknown(recorded) && recorded.from !== formatSplit(rollout.from.split))
    context.log.warn(
      `the agent can't be asked where route ${route} is: it was at ${recorded.from} after the last update`,
    );
  for (const { agent, edges } of hosts)
    await logPlan({ ...inputs, agent }, () => setStep(route, declared, edges, target(declared)), context, { create });
}

async function apply(
  inputs: Properties,
  context: Context,
  { claim, olds }: { claim: Claim; olds?: Inputs },
): Promise<void> {
  const wanted = inputs as unknown as Inputs;
  const hosts = hostsOf(wanted);
  const left = (olds === undefined ? [] : hostsOf(olds)).filter(({ agent }) => !isOn(wanted, agent));
  await withHosts([...hosts, ...left], async (open) => {
    const agents = open.slice(0, hosts.length).map(({ client, edges, agent }) => ({
      client,
      edges,
      claim: isOn(olds, agent) ? claim : { ...claim, kind: "create" as const },
    }));
    const gone = open
      .slice(hosts.length)
      .map(({ client }) => ({ client, claim: { ...claim, kind: "remove" as const } }));
    const own = await Promise.all(gone.map(({ client }) => isOwnOn(client, wanted.name, olds ?? {}, context)));
    const leaving = gone.filter((_, index) => own[index]);
    await rollOutRoute(agents, wanted.name, declaredOf(inputs), context, { leaving, runGates });
  });
}
