import { z } from "zod";
import { type Duration, milliseconds } from "../model/duration";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy, type Seen } from "./support/policy";

type Drained = Unsure<Judged["Pool"]> | Unsure<Judged["Backend"]>;

export const drainTime = policy({
  name: "drain-time",
  description:
    "A request that has begun is not cut off: drains are as long as the longest one, and timeouts as drains.",
  level: "mandatory",
  config: z.strictObject({}),
  judge: {
    Pool: (pool, { others }) => judge(pool, others),
    Backend: (backend, { others }) => judge(backend, others),
  },
});

function judge({ drainDeadline, longestRequest, edge: edgeName, agent }: Drained, others: readonly Seen[]): Finding[] {
  const drain =
    drainDeadline !== undefined && isShorter(drainDeadline, longestRequest)
      ? [
          {
            at: "drainDeadline",
            message: `${drainDeadline} cuts off requests that take longestRequest (${longestRequest}): make it at least as long`,
          },
        ]
      : [];
  const edge = others
    .filter(({ kind }) => kind === "Edge")
    .map(({ inputs }) => inputs as Unsure<Judged["Edge"]>)
    .find((one) => one.name === edgeName && one.agent?.directory === agent?.directory);
  if (edge === undefined) return drain;
  const { client, server, tunnel } = edge.timeouts ?? {};
  // Within a request, an edge must be as patient as requests are long; where that is not declared, the drain says it.
  const request = longestRequest ?? drainDeadline;
  const source = longestRequest === undefined ? "drainDeadline" : "longestRequest";
  const declare = longestRequest === undefined ? ", or declare longestRequest where requests are shorter" : "";
  return [
    ...drain,
    ...timeout(edgeName, "timeouts.client", client, request, source, declare),
    ...timeout(edgeName, "timeouts.server", server, request, source, declare),
    ...timeout(edgeName, "timeouts.tunnel", tunnel, drainDeadline, "drainDeadline"),
    ...timeout(edgeName, "hardStopAfter", edge.hardStopAfter, drainDeadline, "drainDeadline"),
  ];
}

function timeout(
  edge: string | undefined,
  property: string,
  value: Duration | undefined,
  least: Duration | undefined,
  source: string,
  declare = "",
): Finding[] {
  if (value === undefined || !isShorter(value, least)) return [];
  const message = `${least} is longer than ${property} (${value}) of edge ${edge}, which would cut requests off before: raise that${declare}`;
  return [{ at: source, message }];
}

function isShorter(a: Duration, b: Duration | undefined): boolean {
  return b !== undefined && milliseconds(a) < milliseconds(b);
}
