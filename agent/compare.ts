import type { PoolShare } from "../model/pool-share";
import type { Step } from "../model/transaction";
import type { CompareAnswer, Compared } from "./api";
import type { Host } from "./host";
import { Problem } from "./problem";

/** What is committed of a step's target beside what the step sets, in one shape. HAProxy and processes are not looked at. */
export function compareStep(host: Host, step: Step): CompareAnswer {
  const { edges, backends, routes } = host.committed;
  if (step.verb === "edge.set") return { committed: edges[step.edge], wanted: step.spec };
  if (step.verb === "route.set") return { committed: routes[step.route], wanted: step.spec };
  if (step.verb === "backend.set") return { committed: backends[`${step.edge}/${step.backend}`], wanted: step.spec };
  if (step.verb === "pool.start") return { committed: committedPool(host, step.pool), wanted: host.wantedPool(step) };
  throw new Problem(400, "invalid", `${step.verb} sets nothing that could be compared: use a step that does`);
}

function committedPool({ committed }: Host, pool: string): Compared | undefined {
  const { settings, current, canary } = committed.pools[pool] ?? {};
  if (current === undefined) return undefined;
  const { release, processes } = current;
  const tried = canary?.generation;
  return {
    ...settings,
    release,
    processes,
    ...(tried !== undefined && {
      canary: { release: tried.release, processes: tried.processes, ...drawnBy(canary?.share) },
    }),
  };
}

function drawnBy(share: PoolShare | undefined): object {
  const { split: _split, ...drawn } = share ?? {};
  return drawn;
}
