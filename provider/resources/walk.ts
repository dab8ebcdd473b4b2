import { isDeepStrictEqual } from "node:util";
import type { RouteAnswer } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import { type DeclaredRoute, type RouteSpec, routeAt } from "../../model/route";
import { formatSplit } from "../../model/split";
import { planWalk, type Walk } from "../../model/stages";
import type { Context } from "../server";
import type { RunGates } from "./stage-gates";
import { inTransaction, type RunStep } from "./transaction";

export interface WalkOptions {
  /** Whether the route is to be made. */
  create: boolean;
  runGates: RunGates;
}

/**
 * Brings a route to its declared stage in one transaction. Up, it goes through every stage between, each through its
 * window and gates, and a failure at any of them puts all of it back; down, it goes at once, and reads back that it did.
 */
export async function walkRoute(
  client: AgentClient,
  name: string,
  declared: DeclaredRoute,
  context: Context,
  { create, runGates }: WalkOptions,
): Promise<void> {
  await adopt(client, name, declared, context);
  let breach: { from: RouteSpec | undefined } | undefined;
  try {
    await inTransaction(
      client,
      `route/${name}`,
      context,
      async (run, signal) => {
        const now = await client.route(name);
        const walk = walkFrom(now, declared);
        const to = stepper(client, name, declared, run);
        if (walk.legs.length === 0) await to(walk.to);
        // What else is new (match, backends) comes first, and moves nobody.
        else if (isNew(now, declared)) await to(walk.from);
        for (const { stage, split } of walk.legs) {
          const spec = await to(split);
          try {
            await runGates(stage, { client, route: name, spec, signal, log: context.log });
          } catch (error) {
            signal.throwIfAborted();
            breach = { from: now?.spec };
            throw new Error(`stage ${stage.name} of route ${name}: ${(error as Error).message}`, { cause: error });
          }
        }
      },
      { create },
    );
  } catch (error) {
    if (breach?.from === undefined || breach.from.split === 0 || declared.onBreach !== "stable") throw error;
    throw await afterBreach(client, name, breach.from, error as Error, context);
  }
}

/** The way from how a route is to its declared stage; a candidate that is new begins without requests. */
export function walkFrom(now: RouteAnswer | undefined, declared: DeclaredRoute): Walk {
  const from = now === undefined || now.spec.candidate !== declared.candidate ? 0 : lowest(now);
  return planWalk(declared.stages, from, declared.stage);
}

/** What was committed or, where somebody took requests off the candidate by hand, what is left of it. */
function lowest({ committed, splits }: RouteAnswer): number {
  return Math.min(committed, ...Object.values(splits).filter((split) => split !== null));
}

function isNew(now: RouteAnswer | undefined, declared: DeclaredRoute): boolean {
  if (now === undefined) return true;
  return !isDeepStrictEqual(routeAt(declared, 0), { ...now.spec, split: 0 });
}

/**
 * Makes it the committed state that somebody took requests off the candidate by hand, before a walk up from there: its
 * undo must not give them back.
 */
async function adopt(client: AgentClient, name: string, declared: DeclaredRoute, context: Context): Promise<void> {
  const now = await client.route(name);
  if (now === undefined || now.spec.candidate !== declared.candidate) return;
  const split = lowest(now);
  if (split >= now.committed || walkFrom(now, declared).legs.length === 0) return;
  context.log.info(`the candidate was taken from ${formatSplit(now.committed)} to ${formatSplit(split)} by hand`);
  await inTransaction(client, `route/${name}`, context, async (run) => {
    await run({ verb: "route.set", route: name, spec: { ...now.spec, split } });
  });
}

/** Sets a split and reads back on every edge that it holds. */
function stepper(client: AgentClient, name: string, declared: DeclaredRoute, run: RunStep) {
  return async (split: number): Promise<RouteSpec> => {
    const spec = routeAt(declared, split);
    await run({ verb: "route.set", route: name, spec });
    const splits = Object.entries((await client.route(name))?.splits ?? {});
    const other = splits.find(([, has]) => has !== null && has !== split);
    if (other !== undefined)
      throw new Error(
        `edge ${other[0]} gives ${formatSplit(other[1] ?? 0)} of route ${name} to the candidate, not ${formatSplit(split)}: does somebody else change it?`,
      );
    return spec;
  };
}

/** Takes the candidate off the route as it is again after the undo. */
async function afterBreach(
  client: AgentClient,
  name: string,
  from: RouteSpec,
  breach: Error,
  context: Context,
): Promise<Error> {
  try {
    await inTransaction(client, `route/${name}`, context, async (run) => {
      await run({ verb: "route.set", route: name, spec: { ...from, split: 0 } });
    });
    return new Error(`${breach.message}\nThen all requests of route ${name} went to ${from.stable}, as onBreach says.`);
  } catch (error) {
    return new Error(
      `${breach.message}\nThe requests of route ${name} could not all be led to ${from.stable}, as onBreach says: ${(error as Error).message}`,
    );
  }
}
