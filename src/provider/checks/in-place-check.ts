import { asksPrometheus, type Gate } from "../../model/gate/gate";
import type { Stage } from "../../model/route/stages";
import type { Duration } from "../../model/types/duration";
import { liveFailures } from "../resources/agent-ref";
import type { DeclaredPool } from "../resources/pool-inputs";
import type { Context, Failure } from "../server";
import { gateFailures } from "./gate-checks";
import { meterFailures } from "./metered";

/** Problems of replacing a pool in place, as far as a preview can tell: of its edges, its gates and their sources. */
export async function inPlaceFailures(
  { serves, watch, drainDeadline }: DeclaredPool,
  context: Context,
): Promise<Failure[]> {
  if (serves === undefined || watch === undefined) return [];
  const { backend, server, edges } = serves;
  const onEdges = edges.map(async ({ agent, edge }, index) => {
    const step = { verb: "server.drain" as const, edge, backend, server, deadline: drainDeadline };
    const failures = await liveFailures(agent, step, undefined);
    const unmetered = asGates(await meterFailures(agent, [edge], asStages(watch.gates)), "gates");
    return [...failures.map(({ reason }) => ({ property: `serves.edges[${index}]`, reason })), ...unmetered];
  });
  const lists = { before: watch.before, gates: watch.gates };
  const queries = Object.entries(lists).map(async ([list, gates]) =>
    asGates(await gateFailures(asStages(gates, watch.window), context, { judgesPast: list === "before" }), list),
  );
  const all = await Promise.all([...onEdges, ...queries]);
  return [...all.flat(), ...sideFailures(watch)];
}

/** Gates that look for what a pool in place does not have. */
function sideFailures(watch: NonNullable<DeclaredPool["watch"]>): Failure[] {
  return Object.entries({ before: watch.before, gates: watch.gates }).flatMap(([list, gates]) =>
    gates.flatMap((gate, index) => {
      const property = `watch.${list}[${index}]`;
      if (gate.kind === "soak")
        return [{ property, reason: "a soak is about the stage before, which a pool does not have: remove it" }];
      if (gate.kind !== "sli" || asksPrometheus(gate)) return [];
      if (list === "before") return [{ property, reason: "judges requests before there are any: put it into gates" }];
      return gate.notWorseThanStable === undefined
        ? []
        : [
            {
              property: `${property}.notWorseThanStable`,
              reason: "needs a stable side, which a pool in place does not have: use thresholds",
            },
          ];
    }),
  );
}

/** Gates as those of a stage, by which they are checked. */
function asStages(gates: readonly Gate[], window: Duration = "0 seconds"): Stage[] {
  return [{ name: "watch", split: "100%", window, gates: [...gates] }];
}

function asGates(failures: readonly Failure[], list: string): Failure[] {
  return failures.map(({ property, reason }) => ({
    property: property.replace("stages[0].gates", `watch.${list}`),
    reason,
  }));
}
