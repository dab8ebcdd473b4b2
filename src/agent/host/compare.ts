import type { Runnable } from "../../model/pool/pool-generation";
import { orderOf } from "../../model/pool/pool-state";
import type { Step } from "../../model/protocol/transaction";
import type { CompareAnswer, ComparedPool } from "../api/answers";
import { ApiError } from "../api/api-error";
import type { Host } from "./host";

/**
 * Compares the committed state of a step's target with what the step sets, in one shape. HAProxy and processes are not
 * asked.
 */
export function compareStep(host: Host, step: Step): CompareAnswer {
  const { edges, backends, routes, stablesBefore } = host.committed;
  if (step.verb === "edge.set") return { committed: edges[step.edge], wanted: step.spec };
  if (step.verb === "route.set")
    return { committed: routes[step.route], wanted: step.spec, stableBefore: stablesBefore[step.route] };
  if (step.verb === "backend.set") return { committed: backends[`${step.edge}/${step.backend}`], wanted: step.spec };
  if (step.verb === "pool.start") return comparePool(host, step);
  throw new ApiError(400, "invalid", `${step.verb} sets nothing that could be compared: use a step that does`);
}

function comparePool(host: Host, step: Extract<Step, { verb: "pool.start" }>): CompareAnswer<ComparedPool> {
  const wanted = host.wantedPool(step);
  const state = host.committed.pools[step.pool];
  if (state?.current === undefined) return { wanted };
  const { settings, current, candidate } = state;
  const runnable = ({ release, processes }: Runnable): Runnable => ({ release, processes });
  const committedCandidate = candidate && { ...runnable(candidate.generation), ...candidate.share };
  const committed = {
    ...settings,
    ...runnable(current),
    ...(committedCandidate !== undefined && { canary: committedCandidate }),
  };
  return { committed, wanted, order: orderOf(state) };
}
