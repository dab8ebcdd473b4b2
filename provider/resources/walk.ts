import { isDeepStrictEqual } from "node:util";
import type { RouteAnswer } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import { type DeclaredRoute, type RouteSpec, routeAt } from "../../model/route";
import { formatSplit } from "../../model/split";
import { partGates, planWalk, type Stage, type Walk, walkProblem } from "../../model/stages";
import type { Context } from "../server";
import { unmeteredProblem } from "./metered";
import type { RunGates, StageContext } from "./stage-gates";
import { inTransaction, type RunStep } from "./transaction";

export interface WalkOptions {
  /** Whether the route is to be made. */
  create: boolean;
  runGates: RunGates;
  /** Told each measurement of each stage's gates as it is made. @default nobody */
  record?: StageContext["record"];
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
  { create, runGates, record }: WalkOptions,
): Promise<void> {
  await assertWalk(client, name, declared);
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
        let held = { spec: routeAt(declared, walk.from), heldSince: isNew(now, declared) ? undefined : now?.since };
        for (const { stage, split } of walk.legs) {
          const watch = (part: Partial<Stage>) =>
            runGates({ ...stage, ...part }, { client, route: name, ...held, signal, log: context.log, record }).catch(
              (error: unknown) => {
                signal.throwIfAborted();
                throw new Error(`stage ${stage.name} of route ${name}: ${(error as Error).message}`, { cause: error });
              },
            );
          const { before, within } = partGates(stage.gates);
          if (before.length > 0) await watch({ gates: before, window: "0 seconds" });
          held = { spec: await to(split), heldSince: Date.now() };
          await watch({ gates: within }).catch((error: unknown) => {
            // One that is only refused entry to a stage leaves the others to those who have them.
            if (!signal.aborted) breach = { from: now?.spec };
            throw error;
          });
        }
      },
      { create },
    );
  } catch (error) {
    if (breach?.from === undefined || breach.from.split === 0 || declared.onBreach !== "stable") throw error;
    throw await afterBreach(client, name, breach.from, error as Error, context);
  }
}

/** Refuses, before anything is changed, a walk that can't come to its end. */
async function assertWalk(client: AgentClient, name: string, declared: DeclaredRoute): Promise<void> {
  const walk = walkFrom(await client.route(name), declared);
  const problem = walkProblem(walk) ?? (await unmeteredProblem(client, declared.edges, walk));
  if (problem !== undefined) throw new Error(`route ${name}: ${problem}`);
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
