import { z } from "zod";
import { type Duration, milliseconds } from "../src/model/types/duration";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy, type Seen } from "./support/policy";

type Drained = Unsure<Judged["Pool"]> | Unsure<Judged["Backend"]>;

export const drainTime = policy({
  name: "drain-time",
  description: "No request is cut off: drains are as long as the longest request, and timeouts as long as drains.",
  level: "mandatory",
  config: z.strictObject({}),
  judge: {
    Pool: (pool, { others }) => judge(pool, others),
    Backend: (backend, { others }) => judge(backend, others),
  },
});

function judge(drained: Drained, others: readonly Seen[]): Finding[] {
  const { drainDeadline, longestRequest, edge, agent } = drained;
  const drain =
    drainDeadline !== undefined && isShorter(drainDeadline, longestRequest)
      ? [
          {
            at: "drainDeadline",
            message: `${drainDeadline} cuts off requests that take longestRequest (${longestRequest}): make it at least as long`,
          },
        ]
      : [];
  const inPlace = "serves" in drained ? (drained.serves?.edges ?? []) : [];
  const leading = [{ agent, edge }, ...inPlace];
  const edges = others
    .flatMap(({ kind, inputs }) => (kind === "Edge" ? [inputs as Edge] : []))
    .filter(({ name, agent: host }) =>
      leading.some((ref) => name !== undefined && ref?.edge === name && ref.agent?.directory === host?.directory),
    );
  return [...drain, ...edges.flatMap((one) => impatient(one, drained))];
}

type Edge = Unsure<Judged["Edge"]>;

/** Timeouts of an edge that cut off what a drain waits for. */
function impatient({ name, timeouts, hardStopAfter }: Edge, { drainDeadline, longestRequest }: Drained): Finding[] {
  const { client, server, tunnel } = timeouts ?? {};
  // Within a request, an edge must be as patient as requests are long; where that is not declared, the drain says it.
  const request = longestRequest ?? drainDeadline;
  const source = longestRequest === undefined ? "drainDeadline" : "longestRequest";
  const declare = longestRequest === undefined ? ", or declare longestRequest where requests are shorter" : "";
  return [
    ...timeout(name, "timeouts.client", client, request, source, declare),
    ...timeout(name, "timeouts.server", server, request, source, declare),
    ...timeout(name, "timeouts.tunnel", tunnel, drainDeadline, "drainDeadline"),
    ...timeout(name, "hardStopAfter", hardStopAfter, drainDeadline, "drainDeadline"),
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
