import type { RouteAnswer } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import type { Claim } from "../../model/protocol/ownership";
import type { Target } from "../../model/protocol/transaction";
import { type DeclaredRoute, type RouteSpec, routeAt } from "../../model/route/route";
import { formatSplit, parsePercent } from "../../model/route/split";
import { rolloutProblem, STABLE, type StagePosition } from "../../model/route/stages";
import { unmeteredProblem } from "../checks/metered";
import { assertClaim } from "../checks/ownership";
import { note } from "../evidence/note-sender";
import type { Context } from "../server";
import { runOnAll } from "./all-agents";
import { runOrRollBack } from "./roll-back";
import { setStep } from "./route-hosts";
import { differs, lowestShare, replacementProblem, rolloutFrom, unchangedSince } from "./route-position";
import type { RunGates } from "./stage-gates";
import { runStages } from "./stage-runner";
import { inTransaction, inTransactions, type OpenPart, type Part } from "./transaction";

/** An agent that has edges of the route. */
export interface RouteAgent {
  client: AgentClient;
  edges: string[];
  /** On the route there; left out by those who only change something about it. */
  claim?: Claim | undefined;
}

export interface RouteRolloutOptions {
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
export async function rollOutRoute(
  agents: readonly RouteAgent[],
  name: string,
  declared: DeclaredRoute,
  context: Context,
  { runGates, leaving = [] }: RouteRolloutOptions,
): Promise<void> {
  const target = `route/${name}`;
  const parts = agents.map((agent): RoutePart => ({ ...agent, target }));
  await assertFeasible(parts, name, declared, context);
  await commitObservedShare(parts, name, declared, context);
  const removed = leaving.map((agent): RoutePart => ({ ...agent, target, edges: [] }));
  const before = new Map<AgentClient, RouteAnswer | undefined>();
  const rollBack = async (breach: string) => {
    const from = parts.flatMap((part) => {
      const spec = before.get(part.client)?.spec;
      return spec === undefined ? [] : [{ ...part, claim: undefined, spec }];
    });
    if (from.every(isAtStable)) return undefined;
    return rollBackToStable(from, name, { breach, declared }, context);
  };
  await runOrRollBack({ onBreach: declared.onBreach, subject: `route ${name}`, rollBack }, (breached) =>
    inTransactions(
      [...parts, ...removed],
      context,
      async (all, signal, sendNote) => {
        const open = all.slice(0, parts.length);
        for (const { client } of all) before.set(client, await client.route(name));
        const now = open.map(({ client }) => before.get(client));
        const rollout = rolloutFrom(now, declared);
        const moveTo = verifiedMove(open, name, declared);
        if (rollout.steps.length === 0) await moveTo(rollout.to);
        // Other changes (match, backends, edges) come first, and move no requests.
        const fresh = open.some(({ client, edges }) => differs(before.get(client), declared, edges));
        if (fresh && rollout.steps.length > 0) await moveTo(rollout.from);
        const edges = open.flatMap(({ client, edges: names }) => names.map((edge) => ({ name: edge, agent: client })));
        const since = unchangedSince(
          now,
          declared,
          open.map((part) => part.edges),
        );
        await runStages(rollout, {
          subject: `route ${name}`,
          edges,
          route: name,
          unchangedSince: since,
          specAt: (position) => routeAt(declared, position),
          moveTo,
          runGates,
          breached,
          signal,
          log: context.log,
          sendNote,
        });
        await Promise.all(all.slice(parts.length).map(({ run }) => run({ verb: "route.remove", route: name })));
      },
      { revert: ({ client }) => restoreSpec(client, name, before.get(client)?.spec, context) },
    ),
  );
}

/** Refuses a rollout that can't come to its end, before anything is changed. */
async function assertFeasible(
  parts: readonly RoutePart[],
  name: string,
  declared: DeclaredRoute,
  context: Context,
): Promise<void> {
  const now = await Promise.all(parts.map(({ client }) => client.route(name)));
  for (const [index, { target, claim }] of parts.entries()) assertClaim(target, now[index], claim, context);
  const rollout = rolloutFrom(now, declared);
  const unmetered = await Promise.all(parts.map(({ client, edges }) => unmeteredProblem(client, edges, rollout)));
  const problem =
    replacementProblem(now, declared) ?? rolloutProblem(rollout) ?? unmetered.find((each) => each !== undefined);
  if (problem !== undefined) throw new Error(`route ${name}: ${problem}`);
}

/**
 * Commits that somebody took requests off the candidate by hand (or that an update died between two agents' commits),
 * before a rollout from there: its undo must not give them back.
 */
async function commitObservedShare(
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
  if (above.length === 0 || rolloutFrom(now, declared).steps.length === 0) return;
  const highest = Math.max(...now.map(({ committed }) => committed));
  context.log.info(`the candidate was taken from ${formatSplit(highest)} to ${formatSplit(split)} by hand`);
  await inTransactions(above, context, (open) =>
    runOnAll(open, ({ now: { spec } }) => {
      const { stage: _left, ...rest } = spec;
      return { verb: "route.set", route: name, spec: { ...rest, split } };
    }),
  );
}

/** Brings the route to a position on all agents, and reads back on every edge that it holds. */
function verifiedMove(open: readonly OpenPart<RoutePart>[], name: string, declared: DeclaredRoute) {
  return async (position: StagePosition): Promise<void> => {
    await runOnAll(open, ({ edges }) => setStep(name, declared, edges, position));
    const { split, mirror } = routeAt(declared, position);
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
async function restoreSpec(
  client: AgentClient,
  name: string,
  spec: RouteSpec | undefined,
  context: Context,
): Promise<void> {
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
async function rollBackToStable(
  parts: (RoutePart & { spec: RouteSpec })[],
  name: string,
  { breach, declared }: { breach: string; declared: DeclaredRoute },
  context: Context,
): Promise<string> {
  const stable = parts[0]?.spec.stable ?? declared.stable;
  const atStable = ({ mirror, ...rest }: RouteSpec): RouteSpec => ({
    ...rest,
    ...(mirror !== undefined && { mirror: { ...mirror, share: declared.mirror?.share ?? mirror.share } }),
    split: 0,
    stage: STABLE,
  });
  await inTransactions(parts, context, (open, _signal, sendNote) => {
    sendNote(note(`after a breach, all requests go to ${stable}, as onBreach says: ${breach}`));
    return runOnAll(open, ({ spec }) => ({ verb: "route.set", route: name, spec: atStable(spec) }));
  });
  return stable;
}
