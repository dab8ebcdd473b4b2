import { type RouteChange, routeChange } from "../../model/change";
import type { DeclaredRoute, RouteSpec } from "../../model/route";
import type { StepInput } from "../../model/transaction";
import { containsUnknown, type Unknown } from "../server";
import type { AgentRef } from "./agent-ref";
import { committedOn } from "./committed";
import { whenKnown } from "./known";

type Route = DeclaredRoute & { change?: RouteChange };

/** The change of a route for policies, likewise: of its agents, the one with the least for the candidate. */
export async function changeOf(
  olds: Route | undefined,
  after: Route,
  steps: () => { agent: AgentRef; step: StepInput }[],
): Promise<RouteChange | Unknown> {
  const asked = containsUnknown(after) ? [] : steps();
  const answers = await Promise.all(asked.map(({ agent, step }) => committedOn<RouteSpec>(agent, step)));
  const [now] = answers.flatMap((answer) => answer?.committed ?? []).toSorted((a, b) => a.split - b.split);
  if (now === undefined) return whenKnown({ before: olds, after }, ({ before, after }) => routeChange(before, after));
  const { stable, candidate, mirror, split, stage = "" } = now;
  const place = { split, stage: now.stage };
  return routeChange({ stable, candidate, mirror, stages: [], stage, position: place, change: olds?.change }, after);
}
