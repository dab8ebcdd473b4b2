import { clip, flatten } from "../../model/evidence/differences";
import type { EvidenceSnapshot } from "../../model/evidence/record";
import type { Target } from "../../model/protocol/transaction";
import type { MirrorFigures } from "../../model/route/mirror";
import { withTimeout } from "../../support/waiting";
import type { Host } from "../host/host";
import { observeBackend, observeEdgeAlone, observePool } from "../host/observe";
import { concerns, type Desired } from "../state/desired";
import { observeRoute } from "../transactions/routes";

/** Longest time that one thing is waited for, in milliseconds: a HAProxy that hangs must not hold up the others. */
const SNAPSHOT_DEADLINE_MS = 5000;

/** Diagnostics of everything that a target concerns, as it is now. What can't be seen is said, and is no error. */
export async function takeSnapshot(
  host: Host,
  target: Target,
  states: Desired[],
  copies: () => Promise<Record<string, MirrorFigures>>,
): Promise<EvidenceSnapshot> {
  const at = Date.now();
  const { edges, pools } = concerns(target, states);
  const [kind, first = "", second = ""] = target.split("/");
  const notes: string[] = [];
  const describe = async (name: string, snapshot: () => Promise<unknown>): Promise<[string, unknown]> => {
    try {
      return [name, await withTimeout(snapshot(), SNAPSHOT_DEADLINE_MS, noAnswer)];
    } catch (error) {
      notes.push(`${name}: ${(error as Error).message}`);
      return [name, undefined];
    }
  };
  const described = await Promise.all([
    ...(kind === "route" ? [describe(`route ${first}`, () => aboutRoute(host, first, copies))] : []),
    ...(kind === "backend" ? [describe(`backend ${second}`, () => aboutBackend(host, first, second))] : []),
    ...pools.map((pool) => describe(`pool ${pool}`, () => aboutPool(host, pool))),
    // The other backends of an edge, of which there may be hundreds, say nothing of a change of one.
    ...edges.map((edge) =>
      describe(`edge ${edge}`, () => aboutEdge(host, edge, kind === "backend" ? [second] : undefined)),
    ),
  ]);
  const values = Object.entries(flatten(Object.fromEntries(described))).map(([path, value]) => [path, clip(value)]);
  return { at, values: Object.fromEntries(values), notes };
}

async function aboutRoute(host: Host, name: string, copies: () => Promise<Record<string, MirrorFigures>>) {
  const { splits, mirrors } = await observeRoute(host, name);
  const share = (split: number | null) => (split === null ? "HAProxy does not run" : `${split / 100}%`);
  const figures = mirrors === undefined ? undefined : (await copies())[name];
  return {
    ...(mirrors === undefined ? {} : { "share that is mirrored": mapValues(mirrors, share) }),
    ...(figures === undefined ? {} : { "copies since the mirror's start": copiesInWords(figures) }),
    "candidate's share": mapValues(splits, share),
  };
}

function copiesInWords({ received, answered, pending, statuses, dropped }: MirrorFigures) {
  return { received, answered, pending, statuses, dropped };
}

async function aboutBackend(host: Host, edge: string, name: string) {
  return (await observeBackend(host, edge, name)).live;
}

async function aboutPool(host: Host, name: string) {
  const { live, generation, retained, processes } = await observePool(host, name);
  return {
    release: live.release,
    generation,
    servers: mapValues(live.servers, ({ state, weight }) => `${state}, weight ${weight}`),
    processes: Object.fromEntries(
      processes.map(({ id, state, release, pid, port, restarts }) => [
        id,
        [release, state, pid && `pid ${pid}`, port && `port ${port}`, restarts > 0 && `restarted ${restarts} times`]
          .filter(Boolean)
          .join(", "),
      ]),
    ),
    "kept releases": retained.map(({ release }) => release.id),
  };
}

/** @param only backends that are told of; undefined for all */
async function aboutEdge(host: Host, name: string, only: readonly string[] | undefined) {
  const { live, observed } = await observeEdgeAlone(host, name);
  const { version, master, worker, oldWorkers, backends } = observed;
  return {
    haproxy: [live.haproxy, version].filter(Boolean).join(", version "),
    config: live.config,
    master,
    worker: worker?.pid,
    clients: worker?.clients,
    "workers that finish": oldWorkers.length,
    frontends: live.frontends,
    backends: mapValues(only === undefined ? backends : pick(backends, only), (servers) =>
      mapValues(servers, ({ address, port, state, weight, operational, check, leavingUntil }) =>
        [`${address}:${port}`, operational, state, `weight ${weight}`, check, leavingUntil && "leaving"]
          .filter(Boolean)
          .join(", "),
      ),
    ),
  };
}

function pick<T>(record: Record<string, T>, keys: readonly string[]): Record<string, T> {
  return Object.fromEntries(keys.flatMap((key) => (record[key] === undefined ? [] : [[key, record[key]]])));
}

function mapValues<T, U>(record: Record<string, T>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

function noAnswer(): never {
  throw new Error(`no answer within ${SNAPSHOT_DEADLINE_MS} ms`);
}
