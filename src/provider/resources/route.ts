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
import { allDifferences, type Comparison, comparison } from "../changes/committed";
import { logPlan, logUnknown } from "../changes/plan";
import { changeOf } from "../changes/route-change";
import { gateFailures } from "../checks/gate-checks";
import { asRecorded, parseInputs, renameFailures, withLive } from "../checks/inputs";
import { eachWhenKnown, whenKnown } from "../checks/known";
import { meterFailures } from "../checks/metered";
import { repairedByConverging, warnOfOutages } from "../checks/outage-warning";
import { type Declared, ownerSeen, removeClaim, stillOwns, tokenOf } from "../checks/ownership";
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
  type Outputs,
  type Resource,
  UNKNOWN,
} from "../server";
import { type AgentRef, agentRef, askAgent, liveFailures, targetOn, withAgent } from "./agent-ref";
import { ownedChanges } from "./owned";

/** A declaration, as the program gives it. */
interface Declaration extends DeclaredRoute {
  /** The agent of `edges`. */
  agent: AgentRef;
  /** Edges of further agents. */
  others?: RouteHost[] | undefined;
  name: string;
}

interface Inputs extends Declaration, Declared {
  /** The change, for policies: they see new inputs only. */
  change: RouteChange;
  live?: RouteLive;
}

interface State extends Inputs {
  live: RouteLive;
}

/** A route as an agent has it. */
interface Seen {
  found: RouteAnswer;
  live: RouteLive;
}

/** Routes requests to backends, and moves them to another backend in stages. */
export const routeResource: Resource<Inputs, State> = {
  type: "sluice:index:Route",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, {
      own: { agent: agentRef, name, others: otherHosts, ...routeDeclarations },
      spec: declaredRoute,
    });
    failures.push(...renameFailures(olds, values), ...secretFailures(context.secrets));
    const live =
      known && failures.length === 0 && !asRecorded(olds, values)
        ? [...(await hostFailures(values, olds, context.urn)), ...(await gateFailures(values.stages, context))]
        : [];
    return {
      failures: [...failures, ...live],
      inputs: {
        ...withLive(values, olds, failures.length > 0 ? UNKNOWN : expectedLive(values), context.urn),
        change: failures.length > 0 ? UNKNOWN : await changeOf(olds, values, () => setSteps(values)),
      },
    };
  },

  async diff(context, request) {
    await logOutages(context, request.news);
    const ignored = ["agent.socket", ...Object.keys(routeDeclarations)];
    return { entries: await allDifferences(context, request, { ignored, expected: expectedLive, comparisons }) };
  },

  ...ownedChanges<Inputs, State>({
    id: (inputs) => inputs.name,
    plan: (news, context, before) => logRollout(news, context, { create: before === undefined }),
    apply,
    outputsOf,
  }),

  async read(context, { id, inputs, state }) {
    const { agent, edges = [], others, live: recorded } = state;
    if (agent === undefined) return askAgent(undefined, context, undefined, async () => undefined);
    const hosts = hostsOf({ agent, edges, others });
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
        edgeKeys(hosts).flatMap(({ host, edge, key }) => {
          const seen = observed[hosts.indexOf(host)];
          const share = seen === "unreachable" ? recorded?.[part]?.[key] : (seen?.live[part]?.[edge] ?? "none");
          return share === undefined ? [] : [[key, share]];
        }),
      );
    const mirrored = observed.some((seen) => (seen === "unreachable" ? recorded : seen?.live)?.mirrors !== undefined);
    const live = { splits: all("splits"), ...(mirrored && { mirrors: all("mirrors") }) };
    // An update that died between two agents' commits may have taken it over on one of them.
    const odd = reached.find(({ found }) => !owns(found.owner, tokenOf(state))) ?? reached[0];
    return { id, inputs, outputs: { ...state, live, ...ownerSeen(odd?.found ?? {}, state) } };
  },

  targets(properties) {
    return hostsOf(properties).map(({ agent }) => targetOn(agent, `route/${properties.name}`));
  },

  removal({ name: route, live }) {
    const splits = [...new Set(Object.values(live.splits))].join(" and ");
    return `ends route ${route}: its traffic (${splits} of it to the candidate) goes to the frontends' own backends at once`;
  },

  async delete(context, { id, state, declares }) {
    const left = hostsOf(state).filter(({ agent }) => !declares(targetOn(agent, `route/${id}`)));
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
async function logOutages(context: Context, inputs: Inputs): Promise<void> {
  if (containsUnknown(inputs)) return;
  const { split } = target(inputs);
  const leads = (to: string) => (to === inputs.stable && split < SPLIT_PARTS) || (to === inputs.candidate && split > 0);
  for (const { agent, edges } of hostsOf(inputs))
    for (const edge of edges)
      await warnOfOutages(context, {
        agent,
        edge,
        concerns: (_, { from, candidateOf = [] }) =>
          from.includes(`route ${inputs.name}`) || candidateOf.includes(inputs.name),
        repairedBy: (backend, health) =>
          leads(backend) ? repairedByConverging(health) : "leads the requests of the route elsewhere",
      });
}

/** The steps that bring all of its agents to what is declared. */
function setSteps(inputs: Declaration) {
  const declared = declaredOf(inputs);
  return hostsOf(inputs).map(({ agent, edges }) => ({
    agent,
    step: setStep(inputs.name, declared, edges, target(inputs)),
  }));
}

function comparisons(inputs: Inputs): Comparison[] {
  return setSteps(inputs).map(({ agent, step }, index) => ({
    ...comparison(agent, step),
    input: ([first = "", ...rest]) => {
      // Its share is part of what is live.
      if (first === "split") return undefined;
      return index > 0 && first === "edges" ? ["others", index - 1, first, ...rest] : [first, ...rest];
    },
  }));
}

function declaredOf(inputs: Declaration & Partial<Inputs>): DeclaredRoute {
  const {
    agent: _agent,
    others: _others,
    name: _name,
    live: _live,
    declaredBy: _by,
    change: _change,
    ...declared
  } = inputs;
  return forAgent(declared, routeDeclarations);
}

/** Secrets where they would be read: HAProxy's config and the evidence hold what selects requests. */
function secretFailures(secrets: readonly string[]): Failure[] {
  return secrets
    .filter((path) => /^(?:match|testers|sticky)(?:[.[]|$)/.test(path))
    .map((property) => ({
      property,
      reason:
        "is a secret, which HAProxy's config and the evidence would show: give a plain value, and check secrets in the app",
    }));
}

/** Position that the route should reach. */
function target({ stages, stage }: Pick<DeclaredRoute, "stages" | "stage">): StagePosition {
  return positionOf(stages, stage) ?? { split: 0 };
}

const liveParts: Parts<Declaration, RouteLive> = {
  splits: (inputs) => onEveryEdge(inputs, target(inputs).split),
  mirrors: (inputs) => (inputs.mirror === undefined ? undefined : onEveryEdge(inputs, mirroredOf(inputs))),
};

function onEveryEdge(inputs: Declaration, share: number): Record<string, Percent> {
  return Object.fromEntries(edgeKeys(hostsOf(inputs)).map(({ key }) => [key, formatSplit(share)]));
}

/** Reality as it must be, as far as it can be told. */
function expectedLive(inputs: Declaration) {
  return eachWhenKnown(inputs, liveParts);
}

/** Problems that the agents find with the route, each with the property that names the edge. */
async function hostFailures(inputs: Declaration, olds: Declaration | undefined, urn: string): Promise<Failure[]> {
  const declared = declaredOf(inputs);
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
function isOn(olds: Declaration | undefined, { directory }: AgentRef): boolean {
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
    const { splits, mirrors, fallback = [] } = found;
    const inForce = Object.fromEntries(
      Object.entries(shown(splits)).map(([edge, share]) => [
        edge,
        fallback.includes(edge) ? `${share}, all to stable while the candidate takes none` : share,
      ]),
    );
    return { found, live: { splits: inForce, ...(mirrors !== undefined && { mirrors: shown(mirrors) }) } };
  });
}

/** The inputs, and reality as it now must be. */
function outputsOf(inputs: Inputs): Outputs<State> {
  return { ...inputs, live: expectedLive(inputs) };
}

/** Logs in a preview which stages an update goes through, and how it reaches HAProxy. */
async function logRollout(inputs: Inputs, context: Context, { create }: { create: boolean }): Promise<void> {
  const { name: route, change: recorded } = inputs;
  const declared = declaredOf(inputs);
  const hosts = whenKnown(inputs, (known) => hostsOf(known));
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

async function apply(inputs: Inputs, context: Context, claim: Claim, olds?: State): Promise<void> {
  const hosts = hostsOf(inputs);
  const left = (olds === undefined ? [] : hostsOf(olds)).filter(({ agent }) => !isOn(inputs, agent));
  await withHosts([...hosts, ...left], async (open) => {
    const agents = open.slice(0, hosts.length).map(({ client, edges, agent }) => ({
      client,
      edges,
      claim: isOn(olds, agent) ? claim : { ...claim, kind: "create" as const },
    }));
    const gone = open
      .slice(hosts.length)
      .map(({ client }) => ({ client, claim: { ...claim, kind: "remove" as const } }));
    const own = await Promise.all(gone.map(({ client }) => isOwnOn(client, inputs.name, olds ?? {}, context)));
    const leaving = gone.filter((_, index) => own[index]);
    await rollOutRoute(agents, inputs.name, declaredOf(inputs), context, { leaving, runGates });
  });
}
