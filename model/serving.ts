import { z } from "zod";
import { type Duration, duration, formatMilliseconds, milliseconds } from "./duration";
import { gate } from "./gate";
import { describeGate } from "./gate-text";
import { name, serverKey } from "./names";
import type { PoolSpec } from "./pool";
import { edgeProbe } from "./transaction";

/** Most gates of one list. */
const MAX_GATES = 50;
/** Most edges that lead to one host. */
const MAX_EDGES = 16;

/** Where the edges know a pool that is replaced in place, agents left aside. */
export const serving = z.strictObject({
  /** The backend on each of the edges. Change: live. */
  backend: name,
  /** The server in it that is this pool. Change: live. */
  server: serverKey,
  /** A request that the edges lead to the backend. @default a GET of the backend's health path */
  probe: edgeProbe.prefault({}),
});

/** What must hold of a pool that is replaced in place. */
export const watched = z.strictObject({
  /** What must hold before anything is touched, such as a command that finds no pending migration. @default nothing */
  before: z.array(gate).max(MAX_GATES).default([]),
  /** Time for which a new release is watched in the traffic before it is committed; the very first one is not. @default "0 seconds" */
  window: duration({ max: "7 days" }).default("0 seconds"),
  /** What must hold through the window, judged by the meters of all edges for this server alone. @default nothing */
  gates: z.array(gate).max(MAX_GATES).default([]),
});
export type Watched = z.output<typeof watched>;
export type WatchedInput = z.input<typeof watched>;
export { MAX_EDGES };

/** Time that agents give an update which has died beyond what a replacement takes of itself, in milliseconds. */
const SLACK_MS = 10_000;

/** Longest of some durations, in milliseconds. */
function longest(durations: readonly Duration[]): number {
  return Math.max(0, ...durations.map(milliseconds));
}

/** Time that it takes at most to put a pool's release back in its place, in milliseconds: drain, stop, and be healthy. */
export function putBackMs({ drainDeadline, processes }: Pick<PoolSpec, "drainDeadline" | "processes">): number {
  const all = Object.values(processes);
  const stop = longest(all.map(({ gracefulStop }) => gracefulStop));
  const health = longest(all.flatMap(({ health }) => health?.deadline ?? []));
  return milliseconds(drainDeadline) + stop + health + SLACK_MS;
}

/** What a replacement in place does, in sentences for a preview. */
export function inPlacePlan(
  { release, processes, drainDeadline }: Pick<PoolSpec, "release" | "processes" | "drainDeadline">,
  { before, window, gates }: Watched,
  { backend, server, edges }: { backend: string; server: string; edges: string[] },
  from: string | undefined,
): string[] {
  const health = Object.values(processes).find(({ policy }) => policy === "proxied")?.health;
  const on = edges.length === 1 ? `edge ${edges[0]}` : `edges ${edges.join(", ")}`;
  return [
    from === undefined ? `places release ${release.id}` : `replaces ${from} by ${release.id} in place:`,
    ...(before.length === 0 ? [] : [`  before anything is touched: ${before.map(describeGate).join("; ")}`]),
    `  server ${server} of backend ${backend} drains on ${on}, up to ${drainDeadline}`,
    `  ${from === undefined ? "the release starts" : `${from} stops, and ${release.id} starts`}${
      health === undefined ? "" : `, which must answer GET ${health.path} well within ${health.deadline}`
    }`,
    `  ${on} must get good answers from it`,
    // Where nothing ran before there is nothing to go back to, and nobody asks for it yet.
    ...(from === undefined || (gates.length === 0 && milliseconds(window) === 0)
      ? []
      : [
          `  it is watched for ${formatMilliseconds(milliseconds(window))}: ${gates.length === 0 ? "no gates" : gates.map(describeGate).join("; ")}`,
        ]),
    from === undefined
      ? "if anything fails before the end, it is taken away again and the update fails"
      : `if anything fails before the end, ${from} is put back, started, and gets its traffic again, and the update fails`,
  ];
}
