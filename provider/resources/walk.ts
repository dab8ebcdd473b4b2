import type { RouteAnswer } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import type { Claim } from "../../model/ownership";
import { type DeclaredRoute, type RouteSpec, routeAt } from "../../model/route";
import { formatSplit, parsePercent } from "../../model/split";
import { type Place, STABLE, walkProblem } from "../../model/stages";
import type { Target } from "../../model/transaction";
import { remark } from "../evidence/teller";
import type { Context } from "../server";
import { walkLegs } from "./legs";
import { unmeteredProblem } from "./metered";
import { onAll } from "./on-all";
import { walkOrRetreat } from "./on-breach";
import { assertClaim } from "./ownership";
import { setStep } from "./route-hosts";
import { heldBy, isNew, lowestShare, replacementProblem, walkFrom } from "./route-place";
import type { RunGates } from "./stage-gates";
import { inTransaction, inTransactions, type OpenPart, type Part } from "./transaction";

/** An agent that has edges of the route. */
export interface RouteAgent {
  client: AgentClient;
  edges: string[];
  /** On the route there; left out by those who only change something about it. */
  claim?: Claim | undefined;
}

export interface WalkOptions {
  runGates: RunGates;
  /** Agents whose edges are no longer part of the route, with claims to remove it. @default none */
  leaving?: Pick<RouteAgent, "client" | "claim">[];
}

interface RoutePart extends Part {
  target: Target;
  edges: string[];
}

/**
 * Brings a route to its declared stage in one transaction over all of its agents. Up, it goes through every stage between,
 * each through its window and gates, and a failure at any of them puts all of it back; down, it goes at once, and reads back
 * that it did.
 */
export async function walkRoute(
  agents: readonly RouteAgent[],
  name: string,
  declared: DeclaredRoute,
  context: Context,
  { runGates, leaving = [] }: WalkOptions,
): Promise<void> {
  const target = `route/${name}`;
  const parts = agents.map((agent): RoutePart => ({ ...agent, target }));
  await assertWalk(parts, name, declared, context);
  await adopt(parts, name, declared, context);
  const gone = leaving.map((agent): RoutePart => ({ ...agent, target, edges: [] }));
  const before = new Map<AgentClient, RouteAnswer | undefined>();
  const retreat = async (breach: string) => {
    const from = parts.flatMap((part) => {
      const spec = before.get(part.client)?.spec;
      return spec === undefined ? [] : [{ ...part, claim: undefined, spec }];
    });
    if (from.every(isAtStable)) return undefined;
    return leadToStable(from, name, { breach, declared }, context);
  };
  await walkOrRetreat({ onBreach: declared.onBreach, what: `route ${name}`, retreat }, (breached) =>
    inTransactions(
      [...parts, ...gone],
      context,
      async (open, signal, tell) => {
        const here = open.slice(0, parts.length);
        for (const { client } of open) before.set(client, await client.route(name));
        const now = here.map(({ client }) => before.get(client));
        const walk = walkFrom(now, declared);
        const to = stepper(here, name, declared);
        if (walk.legs.length === 0) await to(walk.to);
        // What else is new (match, backends, edges) comes first, and moves nobody.
        const fresh = here.some(({ client, edges }) => isNew(before.get(client), declared, edges));
        if (fresh && walk.legs.length > 0) await to(walk.from);
        const edges = here.flatMap(({ client, edges: names }) => names.map((edge) => ({ name: edge, agent: client })));
        const heldSince = heldBy(
          now,
          declared,
          here.map((part) => part.edges),
        );
        await walkLegs(walk, {
          what: `route ${name}`,
          edges,
          route: name,
          heldSince,
          at: (place) => routeAt(declared, place),
          to,
          runGates,
          breached,
          signal,
          log: context.log,
          tell,
        });
        await Promise.all(open.slice(parts.length).map(({ run }) => run({ verb: "route.remove", route: name })));
      },
      { revert: ({ client }) => setTo(client, name, before.get(client)?.spec, context) },
    ),
  );
}

/** Refuses, before anything is changed, a walk that can't come to its end. */
async function assertWalk(
  parts: readonly RoutePart[],
  name: string,
  declared: DeclaredRoute,
  context: Context,
): Promise<void> {
  const now = await Promise.all(parts.map(({ client }) => client.route(name)));
  for (const [index, { target, claim }] of parts.entries()) assertClaim(target, now[index], claim, context);
  const walk = walkFrom(now, declared);
  const unmetered = await Promise.all(parts.map(({ client, edges }) => unmeteredProblem(client, edges, walk)));
  const problem =
    replacementProblem(now, declared) ?? walkProblem(walk) ?? unmetered.find((each) => each !== undefined);
  if (problem !== undefined) throw new Error(`route ${name}: ${problem}`);
}

/**
 * Makes it the committed state that somebody took requests off the candidate by hand (or that an update died between two
 * agents' commits), before a walk up from there: its undo must not give them back.
 */
async function adopt(
  parts: readonly RoutePart[],
  name: string,
  declared: DeclaredRoute,
  context: Context,
): Promise<void> {
  const all = await Promise.all(parts.map(async (part) => ({ ...part, now: await part.client.route(name) })));
  const known = all.flatMap(({ now, ...part }) => (now === undefined ? [] : [{ ...part, claim: undefined, now }]));
  const now = known.map((part) => part.now);
  if (now.length === 0 || now.some(({ spec }) => spec.candidate !== declared.candidate)) return;
  const split = lowestShare(now, declared.candidate);
  const above = known.filter((part) => part.now.committed > split);
  if (above.length === 0 || walkFrom(now, declared).legs.length === 0) return;
  const highest = Math.max(...now.map(({ committed }) => committed));
  context.log.info(`the candidate was taken from ${formatSplit(highest)} to ${formatSplit(split)} by hand`);
  await inTransactions(above, context, (open) =>
    onAll(open, ({ now: { spec } }) => {
      const { stage: _left, ...rest } = spec;
      return { verb: "route.set", route: name, spec: { ...rest, split } };
    }),
  );
}

/** Brings the route to a place on all agents, and reads back on every edge that it holds. */
function stepper(open: readonly OpenPart<RoutePart>[], name: string, declared: DeclaredRoute) {
  return async (place: Place): Promise<void> => {
    await onAll(open, ({ edges }) => setStep(name, declared, edges, place));
    const { split, mirror } = routeAt(declared, place);
    const answers = await Promise.all(open.map(({ client }) => client.route(name)));
    const assert = (part: "splits" | "mirrors", wanted: number, to: string) => {
      const other = answers
        .flatMap((answer) => Object.entries(answer?.[part] ?? {}))
        .find(([, has]) => has !== null && has !== wanted);
      if (other !== undefined)
        throw new Error(
          `edge ${other[0]} gives ${formatSplit(other[1] ?? 0)} of route ${name} to ${to}, not ${formatSplit(wanted)}: does somebody else change it?`,
        );
    };
    assert("splits", split, "the candidate");
    if (mirror !== undefined) assert("mirrors", parsePercent(mirror.share) ?? 0, `its mirror ${mirror.to}`);
  };
}

/** Makes a route on one agent what it was. */
async function setTo(client: AgentClient, name: string, spec: RouteSpec | undefined, context: Context): Promise<void> {
  await inTransaction(client, `route/${name}`, context, async (run) => {
    if (spec === undefined) await run({ verb: "route.remove", route: name });
    else await run({ verb: "route.set", route: name, spec });
  });
}

/** Whether a route has neither a candidate's share nor a stage that has anything mirrored. */
function isAtStable({ spec: { split, stage = STABLE } }: { spec: RouteSpec }): boolean {
  return split === 0 && stage === STABLE;
}

/** Takes the candidate off the route as it is again after the undo, and its mirror back to its own share; names the stable side. */
async function leadToStable(
  parts: (RoutePart & { spec: RouteSpec })[],
  name: string,
  { breach, declared }: { breach: string; declared: DeclaredRoute },
  context: Context,
): Promise<string> {
  const stable = parts[0]?.spec.stable ?? declared.stable;
  const retreat = ({ mirror, ...rest }: RouteSpec): RouteSpec => ({
    ...rest,
    ...(mirror !== undefined && { mirror: { ...mirror, share: declared.mirror?.share ?? mirror.share } }),
    split: 0,
    stage: STABLE,
  });
  await inTransactions(parts, context, (open, _signal, tell) => {
    tell(remark(`after a breach, all requests go to ${stable}, as onBreach says: ${breach}`));
    return onAll(open, ({ spec }) => ({ verb: "route.set", route: name, spec: retreat(spec) }));
  });
  return stable;
}
