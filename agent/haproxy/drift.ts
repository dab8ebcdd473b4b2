import type { EdgeBackend } from "../../model/pool-share";
import type { RouteSpec } from "../../model/route";
import type { Fleet } from "./fleet";
import { addCommands } from "./render";
import { oldSplitMends, splitMends } from "./routes";
import { type Leaving, type Placed, type Placement, path } from "./servers";
import type { ServerSnapshot, WorkerSnapshot } from "./snapshot";

/** One thing that is not as wanted, and the commands of the runtime API that mend it. */
export interface Mend {
  reason: string;
  commands: string[];
  /** The worker of before a reload that has it; nothing for the current one. */
  oldWorker?: number;
}

/** What differs from what is wanted in any worker and can be mended at run time: servers first, then who is sent to them. */
export function fleetMends(
  wanted: Placement & { backends: Record<string, EdgeBackend>; routes: Record<string, RouteSpec> },
  { current, old }: Pick<Fleet, "current" | "old">,
): Mend[] {
  return [
    ...mends(wanted, wanted.backends, current),
    ...splitMends(wanted.routes, wanted.backends, current.splits).map(({ reason, command }) => ({
      reason,
      commands: [command],
    })),
    ...old.flatMap(({ pid, snapshot }) =>
      oldSplitMends(wanted.routes, wanted.backends, snapshot?.splits ?? new Map()).map(({ reason, command }) => ({
        reason: `${reason}, in the old worker ${pid}`,
        commands: [command],
        oldWorker: pid,
      })),
    ),
  ];
}

/**
 * What in a worker differs from what is wanted and can be mended at run time. Servers that take traffic come before
 * those that give it up, so that a backend is never without one in between.
 */
function mends({ placed, leaving }: Placement, backends: Record<string, EdgeBackend>, worker: WorkerSnapshot): Mend[] {
  const differing = placed.flatMap((server) => serverMends(server, backends[server.backend], worker));
  const leavingNow = leaving.flatMap((server) => leaveMends(server, worker));
  const paused = [...worker.frontends].flatMap(([name, { status }]) =>
    status === "PAUSED" ? [{ reason: `frontend ${name} is disabled`, commands: [`enable frontend ${name}`] }] : [],
  );
  const [giving, taking] = partition(differing, ({ commands }) =>
    commands.some((command) => / state (drain|maint)$/.test(command)),
  );
  return [...paused, ...taking, ...giving, ...leavingNow];
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

function serverMends(server: Placed, backend: EdgeBackend | undefined, worker: WorkerSnapshot): Mend[] {
  const target = path(server);
  const is = worker.backends.get(server.backend)?.get(server.id);
  if (backend === undefined) return [];
  if (is === undefined) return [{ reason: `server ${target} is missing`, commands: addCommands(server, backend) }];
  const mends: Mend[] = [];
  if (is.address !== server.address || is.port !== server.port)
    mends.push({
      reason: `server ${target} has address ${is.address}:${is.port}, not ${server.address}:${server.port}`,
      commands: [`set server ${target} addr ${server.address} port ${server.port}`],
    });
  if (is.weight !== server.weight)
    mends.push({
      reason: `server ${target} has weight ${is.weight}, not ${server.weight}`,
      commands: [`set server ${target} weight ${server.weight}`],
    });
  if (!is.checked)
    mends.push({ reason: `server ${target} is not health-checked`, commands: [`enable health ${target}`] });
  if (is.state !== server.state)
    mends.push({
      reason: `server ${target} is in state ${is.state}, not ${server.state}`,
      commands: [`set server ${target} state ${server.state}`],
    });
  return mends;
}

function leaveMends(server: Leaving, worker: WorkerSnapshot): Mend[] {
  const is = worker.backends.get(server.backend)?.get(server.id);
  if (is?.state !== "ready") return [];
  return [{ reason: `server ${path(server)} leaves`, commands: [`set server ${path(server)} state drain`] }];
}

/** Servers that somebody added by hand: neither wanted nor leaving. */
export function unknownServers(
  { placed, leaving }: Placement,
  worker: WorkerSnapshot,
): (ServerSnapshot & { backend: string })[] {
  const known = new Set([...placed, ...leaving].map(path));
  return [...worker.backends].flatMap(([backend, servers]) =>
    [...servers.values()].flatMap((server) => (known.has(`${backend}/${server.id}`) ? [] : [{ ...server, backend }])),
  );
}

/** Frontends that were shut down for good, which only a reload brings back. */
export function shutFrontends(worker: WorkerSnapshot): string[] {
  return [...worker.frontends].flatMap(([name, { status }]) => (status === "STOP" ? [name] : []));
}
