import { isDeepStrictEqual } from "node:util";
import type { RouteAnswer } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import { milliseconds } from "../../model/duration";
import { type DeclaredRoute, type RouteSpec, routeAt } from "../../model/route";
import { formatSplit } from "../../model/split";
import { partGates, planWalk, type Stage, type Walk, walkProblem } from "../../model/stages";
import type { Target } from "../../model/transaction";
import type { Context } from "../server";
import { unmeteredProblem } from "./metered";
import { onAll } from "./on-all";
import { setStep } from "./route-hosts";
import type { RunGates } from "./stage-gates";
import { inTransaction, inTransactions, type OpenPart, type Part } from "./transaction";

/** An agent that has edges of the route. */
export interface RouteAgent {
  client: AgentClient;
  edges: string[];
  /** Whether the route is new on it. */
  create: boolean;
}

export interface WalkOptions {
  runGates: RunGates;
  /** Agents whose edges are no longer part of the route. @default none */
  leaving?: AgentClient[];
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
  await assertWalk(parts, name, declared);
  await adopt(parts, name, declared, context);
  const gone = leaving.map((client): RoutePart => ({ client, target, edges: [] }));
  const before = new Map<AgentClient, RouteAnswer | undefined>();
  let breached = false;
  try {
    await inTransactions(
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
        let held = {
          spec: routeAt(declared, walk.from),
          heldSince: heldBy(
            now,
            declared,
            here.map((part) => part.edges),
          ),
        };
        for (const { stage, split } of walk.legs) {
          const watch = (part: Partial<Stage>) =>
            runGates({ ...stage, ...part }, { edges, route: name, ...held, signal, log: context.log, tell }).catch(
              (error: unknown) => {
                signal.throwIfAborted();
                throw new Error(`stage ${stage.name} of route ${name}: ${(error as Error).message}`, { cause: error });
              },
            );
          const { before: entry, within } = partGates(stage.gates);
          if (entry.length > 0) await watch({ gates: entry, window: "0 seconds" });
          await to(split);
          held = { spec: routeAt(declared, split), heldSince: Date.now() };
          tell({ kind: "stage", at: Date.now(), stage: stage.name, split, windowMs: milliseconds(stage.window) });
          await watch({ gates: within }).catch((error: unknown) => {
            // One that is only refused entry to a stage leaves the others to those who have them.
            breached = !signal.aborted;
            throw error;
          });
        }
        await Promise.all(open.slice(parts.length).map(({ run }) => run({ verb: "route.remove", route: name })));
      },
      { revert: ({ client }) => setTo(client, name, before.get(client)?.spec, context) },
    );
  } catch (error) {
    const from = parts.flatMap((part) => {
      const spec = before.get(part.client)?.spec;
      return spec === undefined ? [] : [{ ...part, create: false, spec }];
    });
    if (!breached || declared.onBreach !== "stable" || from.every(({ spec }) => spec.split === 0)) throw error;
    throw await afterBreach(from, name, error as Error, context);
  }
}

/** Refuses, before anything is changed, a walk that can't come to its end. */
async function assertWalk(parts: readonly RoutePart[], name: string, declared: DeclaredRoute): Promise<void> {
  const walk = walkFrom(await Promise.all(parts.map(({ client }) => client.route(name))), declared);
  const unmetered = await Promise.all(parts.map(({ client, edges }) => unmeteredProblem(client, edges, walk)));
  const problem = walkProblem(walk) ?? unmetered.find((each) => each !== undefined);
  if (problem !== undefined) throw new Error(`route ${name}: ${problem}`);
}

/**
 * Since when a route has been on all of its agents as it is declared, but for its split; nothing where it is not yet.
 *
 * @param edges the route's edges on each agent
 */
export function heldBy(
  now: readonly (RouteAnswer | undefined)[],
  declared: DeclaredRoute,
  edges: readonly string[][],
): number | undefined {
  if (now.some((answer, index) => isNew(answer, declared, edges[index] ?? []))) return undefined;
  const since = now.flatMap((answer) => answer?.since ?? []);
  return since.length === now.length ? Math.max(...since) : undefined;
}

/** The way from how a route is on its agents to its declared stage; a candidate that is new begins without requests. */
export function walkFrom(now: readonly (RouteAnswer | undefined)[], declared: DeclaredRoute): Walk {
  // An agent whose edges are new follows the others.
  const known = now.filter((answer) => answer !== undefined);
  const same = known.length > 0 && known.every(({ spec }) => spec.candidate === declared.candidate);
  return planWalk(declared.stages, same ? lowest(known) : 0, declared.stage);
}

/** What was committed or, where somebody took requests off the candidate by hand, what is left of it; of all agents the least. */
function lowest(now: readonly RouteAnswer[]): number {
  return Math.min(
    ...now.flatMap(({ committed, splits }) => [committed, ...Object.values(splits).filter((split) => split !== null)]),
  );
}

function isNew(now: RouteAnswer | undefined, declared: DeclaredRoute, edges: string[]): boolean {
  if (now === undefined) return true;
  return !isDeepStrictEqual({ ...routeAt(declared, 0), edges }, { ...now.spec, split: 0 });
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
  const known = all.flatMap(({ now, ...part }) => (now === undefined ? [] : [{ ...part, create: false, now }]));
  const now = known.map((part) => part.now);
  if (now.length === 0 || now.some(({ spec }) => spec.candidate !== declared.candidate)) return;
  const split = lowest(now);
  const above = known.filter((part) => part.now.committed > split);
  if (above.length === 0 || walkFrom(now, declared).legs.length === 0) return;
  const highest = Math.max(...now.map(({ committed }) => committed));
  context.log.info(`the candidate was taken from ${formatSplit(highest)} to ${formatSplit(split)} by hand`);
  await inTransactions(above, context, (open) =>
    onAll(open, ({ now: { spec } }) => ({ verb: "route.set", route: name, spec: { ...spec, split } })),
  );
}

/** Sets a split on all agents and reads back on every edge that it holds. */
function stepper(open: readonly OpenPart<RoutePart>[], name: string, declared: DeclaredRoute) {
  return async (split: number): Promise<void> => {
    await onAll(open, ({ edges }) => setStep(name, declared, edges, split));
    const answers = await Promise.all(open.map(({ client }) => client.route(name)));
    const other = answers
      .flatMap((answer) => Object.entries(answer?.splits ?? {}))
      .find(([, has]) => has !== null && has !== split);
    if (other !== undefined)
      throw new Error(
        `edge ${other[0]} gives ${formatSplit(other[1] ?? 0)} of route ${name} to the candidate, not ${formatSplit(split)}: does somebody else change it?`,
      );
  };
}

/** Makes a route on one agent what it was. */
async function setTo(client: AgentClient, name: string, spec: RouteSpec | undefined, context: Context): Promise<void> {
  await inTransaction(client, `route/${name}`, context, async (run) => {
    if (spec === undefined) await run({ verb: "route.remove", route: name });
    else await run({ verb: "route.set", route: name, spec });
  });
}

/** Takes the candidate off the route as it is again after the undo. */
async function afterBreach(
  parts: (RoutePart & { spec: RouteSpec })[],
  name: string,
  breach: Error,
  context: Context,
): Promise<Error> {
  const stable = parts[0]?.spec.stable ?? "";
  try {
    await inTransactions(parts, context, (open) =>
      onAll(open, ({ spec }) => ({ verb: "route.set", route: name, spec: { ...spec, split: 0 } })),
    );
    return new Error(`${breach.message}\nThen all requests of route ${name} went to ${stable}, as onBreach says.`);
  } catch (error) {
    return new Error(
      `${breach.message}\nThe requests of route ${name} could not all be led to ${stable}, as onBreach says: ${(error as Error).message}`,
    );
  }
}
