import { z } from "zod";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy, type Seen } from "./support/policy";
import { isProduction, production } from "./support/production";

export const spread = policy({
  name: "spread",
  description: "Production does not hang on one host or one edge.",
  level: "advisory",
  config: z.strictObject({ production }),
  judgeStack({ config, stack, others }) {
    if (!isProduction(stack, config.production)) return [];
    return [
      ...alone("host", "Pool", others, ({ agent }) => agent?.directory),
      ...alone("edge", "Edge", others, ({ agent, name }) => name && agent?.directory && `${agent.directory} ${name}`),
    ];
  },
});

/** Says that there is a single place for all pools, or a single edge. */
function alone<K extends "Pool" | "Edge">(
  place: "host" | "edge",
  kind: K,
  others: readonly Seen[],
  placeOf: (inputs: Unsure<Judged[K]>) => string | undefined,
): Finding[] {
  const found = others.filter((other) => other.kind === kind).map(({ inputs }) => inputs as Unsure<Judged[K]>);
  const places = found.map(placeOf);
  // One that is not known yet may be another one.
  if (found.length === 0 || places.includes(undefined) || new Set(places).size > 1) return [];
  const names = found.map(({ name }) => name).join(", ");
  return place === "host"
    ? [{ message: `every pool (${names}) runs on one host, whose loss is an outage: put a second one beside it` }]
    : [
        {
          message: `all traffic goes through one edge (${names}), whose loss is an outage: put a second one beside it`,
        },
      ];
}
