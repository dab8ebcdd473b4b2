import type { Runnable } from "../model/pool-generation";
import { orderOf } from "../model/pool-state";
import type { Step } from "../model/transaction";
import type { CompareAnswer, ComparedPool } from "./api";
import type { Host } from "./host";
import { Problem } from "./problem";

/** What is committed of a step's target beside what the step sets, in one shape. HAProxy and processes are not looked at. */
export function compareStep(host: Host, step: Step): CompareAnswer {
  const { edges, backends, routes } = host.committed;
  if (step.verb === "edge.set") return { committed: edges[step.edge], wanted: step.spec };
  if (step.verb === "route.set") return { committed: routes[step.route], wanted: step.spec };
  if (step.verb === "backend.set") return { committed: backends[`${step.edge}/${step.backend}`], wanted: step.spec };
  if (step.verb === "pool.start") return comparePool(host, step);
  throw new Problem(400, "invalid", `${step.verb} sets nothing that could be compared: use a step that does`);
}

function comparePool(host: Host, step: Extract<Step, { verb: "pool.start" }>): CompareAnswer<ComparedPool> {
  const wanted = host.wantedPool(step);
  const state = host.committed.pools[step.pool];
  if (state?.current === undefined) return { wanted };
  const { settings, current, canary } = state;
  const runnable = ({ release, processes }: Runnable): Runnable => ({ release, processes });
  const tried = canary && { ...runnable(canary.generation), ...canary.share };
  const committed = { ...settings, ...runnable(current), ...(tried !== undefined && { canary: tried }) };
  return { committed, wanted, order: orderOf(state) };
}
