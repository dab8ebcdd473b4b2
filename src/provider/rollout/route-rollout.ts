import type { RouteAnswer } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import type { Claim } from "../../model/protocol/ownership";
import type { StepInput } from "../../model/protocol/transaction";
import { type DeclaredRoute, type RouteSpec, routeAt } from "../../model/route/route";
import { parsePercent } from "../../model/route/split";
import { STABLE } from "../../model/route/stages";
import type { Context } from "../server";
import { watchingShare } from "./candidate-watch";
import { type Reading, type RolloutPart, rollOut, type Subject } from "./rollout";
import { setStep } from "./route-hosts";
import { differs, replacementProblem, rolloutFrom, unchangedSince } from "./route-position";
import type { RunGates } from "./stage-gates";

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

/** Brings a route to its declared stage on all of its agents, see {@link rollOut}. */
export async function rollOutRoute(
  agents: readonly RouteAgent[],
  name: string,
  declared: DeclaredRoute,
  context: Context,
  options: RouteRolloutOptions,
): Promise<void> {
  await rollOut(routeSubject(agents, name, declared, options), context);
}

interface RouteReading extends Reading {
  now: (RouteAnswer | undefined)[];
}

/** A route as the subject of a rollout. Above 60 lines, as a list of short methods. */
function routeSubject(
  agents: readonly RouteAgent[],
  name: string,
  declared: DeclaredRoute,
  { runGates, leaving = [] }: RouteRolloutOptions,
): Subject<RouteReading> {
  const target = `route/${name}` as const;
  const parts = agents.map((agent): RolloutPart => ({ ...agent, target }));
  const left = leaving.map((agent): RolloutPart => ({ ...agent, target, edges: [] }));
  const remove: StepInput = { verb: "route.remove", route: name };
  const set = (spec: RouteSpec): StepInput => ({ verb: "route.set", route: name, spec });
  const answers = (of: readonly RolloutPart[]) => Promise.all(of.map(({ client }) => client.route(name)));
  /** The agents that have the route already. */
  const known = ({ now }: RouteReading) =>
    parts.flatMap(({ client }, index) => {
      const answer = now[index];
      return answer === undefined ? [] : [{ client, target, ...answer }];
    });
  return {
    title: `route ${name}`,
    route: name,
    onBreach: declared.onBreach,
    runGates: watchingShare(runGates),
    parts,
    leaving: { parts: left, step: remove },
    specAt: (position) => routeAt(declared, position),

    async read() {
      const now = await answers([...parts, ...left]);
      const own = now.slice(0, parts.length);
      return {
        now,
        committed: Math.max(0, ...own.map((answer) => answer?.committed ?? 0)),
        rollout: rolloutFrom(own, declared),
        problem: replacementProblem(own, declared),
      };
    },

    takenByHand(before) {
      const { split } = before.rollout.from;
      const having = known(before);
      if (having.some(({ spec }) => spec.candidate !== declared.candidate)) return [];
      return having.flatMap(({ client, committed, spec: { stage: _left, ...rest } }) =>
        committed > split ? [{ client, target, step: set({ ...rest, split }) }] : [],
      );
    },

    async prepare(_open, { now }) {
      const edges = parts.map((part) => part.edges);
      return {
        // Other changes (match, backends, edges) come before the stages, and move no requests.
        isNew: edges.some((names, index) => differs(now[index], declared, names)),
        unchangedSince: unchangedSince(now.slice(0, parts.length), declared, edges),
        stepAt: (part, position) => setStep(name, declared, part.edges, position),
      };
    },

    async readBack(position) {
      const { split, mirror } = routeAt(declared, position);
      const now = await answers(parts);
      const each = (part: "splits" | "mirrors", wanted: number, to: string) =>
        now
          .flatMap((answer) => Object.entries(answer?.[part] ?? {}))
          .map(([edge, has]) => ({ edge: `edge ${edge}`, has, wanted, to: `of route ${name} to ${to}` }));
      const shares = each("splits", split, "the candidate");
      if (mirror === undefined) return shares;
      return [...shares, ...each("mirrors", parsePercent(mirror.share) ?? 0, `its mirror ${mirror.to}`)];
    },

    rollBack(before) {
      const having = known(before);
      // A stage without requests for the candidate may mirror some.
      if (having.every(({ spec: { split, stage = STABLE } }) => split === 0 && stage === STABLE)) return undefined;
      const to = having[0]?.spec.stable ?? declared.stable;
      const steps = having.map(({ client, spec: { mirror, ...rest } }) => {
        const share = declared.mirror?.share ?? mirror?.share;
        const own = mirror !== undefined && share !== undefined && { mirror: { ...mirror, share } };
        return { client, target, step: set({ ...rest, ...own, split: 0, stage: STABLE }) };
      });
      return { parts: steps, to, note: `all requests go to ${to}` };
    },

    restoreStep(part, { now }) {
      const spec = now[[...parts, ...left].indexOf(part)]?.spec;
      return spec === undefined ? remove : set(spec);
    },
  };
}
