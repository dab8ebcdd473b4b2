import { z } from "zod";
import { gate } from "../gate/gate";
import { describeGate } from "../gate/gate-text";
import { edgeProbe } from "../protocol/transaction";
import { type Duration, duration, formatMilliseconds, milliseconds } from "../types/duration";
import { name, serverKey } from "../types/names";
import type { PoolSpec } from "./pool";

/** Most gates of one list. */
const MAX_GATES = 50;
/** Most edges that lead to one host. */
const MAX_EDGES = 16;

/** Name of a pool that is replaced in place, as the edges know it, agents left aside. */
export const inPlaceServer = z.strictObject({
  /** The backend on each of the edges. Change: live. */
  backend: name,
  /** The server in it that is this pool. Change: live. */
  server: serverKey,
  /** A request that the edges lead to the backend. @default a GET of the backend's health path */
  probe: edgeProbe.prefault({}),
});

/** Conditions for replacing a pool in place. */
export const inPlaceWatch = z.strictObject({
  /**
   * Gates that must pass before anything is touched, such as a command that finds no pending migration. @default
   * nothing
   */
  before: z.array(gate).max(MAX_GATES).default([]),
  /** Time for which a new release is watched in the traffic before it is committed; the very first one is not. @default "0 seconds" */
  window: duration({ max: "7 days" }).default("0 seconds"),
  /**
   * Gates that must hold through the window, judged by the meters of all edges for this server alone. @default nothing
   */
  gates: z.array(gate).max(MAX_GATES).default([]),
});
export type InPlaceWatch = z.output<typeof inPlaceWatch>;
export type InPlaceWatchInput = z.input<typeof inPlaceWatch>;
export { MAX_EDGES };

/** Time that agents give an update which has died beyond what a replacement takes of itself, in milliseconds. */
const SLACK_MS = 10_000;

/** Longest of some durations, in milliseconds. */
function longest(durations: readonly Duration[]): number {
  return Math.max(0, ...durations.map(milliseconds));
}

/** Time that it takes at most to put a pool's release back in its place, in milliseconds: drain, stop, and be healthy. */
export function restoreMs({ drainDeadline, processes }: Pick<PoolSpec, "drainDeadline" | "processes">): number {
  const all = Object.values(processes);
  const stop = longest(all.map(({ gracefulStop }) => gracefulStop));
  const health = longest(all.flatMap(({ health }) => health?.deadline ?? []));
  return milliseconds(drainDeadline) + stop + health + SLACK_MS;
}

/** The watch of a release that goes back to one which has served before: it must be healthy, and then nobody waits. */
export function watchOfRollback({ before, gates }: InPlaceWatch): InPlaceWatch {
  return { before, window: "0 seconds", gates: gates.filter(({ kind }) => kind === "health") };
}

/**
 * Describes a replacement in place, in sentences for a preview.
 *
 * @param goesBack whether it is to a release that has served before
 */
export function inPlacePlan(
  { release, processes, drainDeadline }: Pick<PoolSpec, "release" | "processes" | "drainDeadline">,
  watch: InPlaceWatch,
  { backend, server, edges }: { backend: string; server: string; edges: string[] },
  from: string | undefined,
  goesBack: boolean,
): string[] {
  const { before, window, gates } = watch;
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
    // A first release has nothing to go back to, and no traffic yet.
    ...(from === undefined || (gates.length === 0 && milliseconds(window) === 0)
      ? []
      : [`  ${watchText(watch, goesBack)}`]),
    from === undefined
      ? "if anything fails before the end, it is taken away again and the update fails"
      : `if anything fails before the end, ${from} is put back, started, and gets its traffic again, and the update fails`,
  ];
}

function watchText({ window, gates }: InPlaceWatch, goesBack: boolean): string {
  if (goesBack)
    return "it is a rollback to a release that has served here before: once it is healthy, it is not watched any further";
  const conditions = gates.length === 0 ? "no gates" : gates.map(describeGate).join("; ");
  return `it is watched for ${formatMilliseconds(milliseconds(window))}: ${conditions}`;
}
