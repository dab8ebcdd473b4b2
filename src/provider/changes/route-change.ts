import { type RouteChange, routeChange } from "../../model/policy/change";
import type { StepInput } from "../../model/protocol/transaction";
import type { DeclaredRoute, RouteSpec } from "../../model/route/route";
import { whenKnown } from "../checks/known";
import type { AgentRef } from "../resources/agent-ref";
import { containsUnknown, type Unknown } from "../server";
import { committedOn } from "./committed";

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
  const [known] = answers.flatMap((answer) => answer?.stableBefore ?? []);
  if (now === undefined) return whenKnown({ before: olds, after }, ({ before, after }) => routeChange(before, after));
  const { stable, candidate, mirror, split, stage = "" } = now;
  const place = { split, stage: now.stage };
  const change = known === undefined ? olds?.change : { stable: { before: known } };
  return routeChange({ stable, candidate, mirror, stages: [], stage, position: place, change }, after);
}
