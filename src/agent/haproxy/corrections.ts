import type { EdgeBackend } from "../../model/pool/pool-share";
import type { RouteSpec } from "../../model/route/route";
import { addCommands } from "./config/render";
import { oldSplitCorrections, splitCorrections } from "./config/routes";
import { type DrainingServer, path, type ServerAssignment, type ServerAssignments } from "./runtime/server-assignments";
import type { ServerSnapshot, WorkerSnapshot } from "./runtime/snapshot";
import type { WorkerSet } from "./runtime/worker-set";

/** A difference from the wanted state, and the commands of the runtime API that correct it. */
export interface Correction {
  reason: string;
  commands: string[];
  /** The worker of before a reload that has it; nothing for the current one. */
  oldWorker?: number;
}

/** Corrections for all workers that can be made at run time: servers first, then splits. */
export function corrections(
  wanted: ServerAssignments & { backends: Record<string, EdgeBackend>; routes: Record<string, RouteSpec> },
  { current, old }: Pick<WorkerSet, "current" | "old">,
): Correction[] {
  return [
    ...workerCorrections(wanted, wanted.backends, current),
    ...splitCorrections(wanted.routes, wanted.backends, current.splits).map(({ reason, command }) => ({
      reason,
      commands: [command],
    })),
    ...old.flatMap(({ pid, snapshot }) =>
      oldSplitCorrections(wanted.routes, wanted.backends, snapshot?.splits ?? new Map()).map(({ reason, command }) => ({
        reason: `${reason}, in the old worker ${pid}`,
        commands: [command],
        oldWorker: pid,
      })),
    ),
  ];
}

/**
 * Corrections for one worker that can be made at run time. Servers that take traffic come before those that give it up,
 * so that a backend is never without one in between.
 */
function workerCorrections(
  { placed, leaving }: ServerAssignments,
  backends: Record<string, EdgeBackend>,
  worker: WorkerSnapshot,
): Correction[] {
  const differing = placed.flatMap((server) => serverCorrections(server, backends[server.backend], worker));
  const leavingNow = leaving.flatMap((server) => drainCorrections(server, worker));
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

function serverCorrections(
  server: ServerAssignment,
  backend: EdgeBackend | undefined,
  worker: WorkerSnapshot,
): Correction[] {
  const target = path(server);
  const is = worker.backends.get(server.backend)?.get(server.id);
  if (backend === undefined) return [];
  if (is === undefined) return [{ reason: `server ${target} is missing`, commands: addCommands(server, backend) }];
  const found: Correction[] = [];
  if (is.address !== server.address || is.port !== server.port)
    found.push({
      reason: `server ${target} has address ${is.address}:${is.port}, not ${server.address}:${server.port}`,
      commands: [`set server ${target} addr ${server.address} port ${server.port}`],
    });
  if (is.weight !== server.weight)
    found.push({
      reason: `server ${target} has weight ${is.weight}, not ${server.weight}`,
      commands: [`set server ${target} weight ${server.weight}`],
    });
  if (!is.checked)
    found.push({ reason: `server ${target} is not health-checked`, commands: [`enable health ${target}`] });
  if (is.state !== server.state)
    found.push({
      reason: `server ${target} is in state ${is.state}, not ${server.state}`,
      commands: [`set server ${target} state ${server.state}`],
    });
  return found;
}

function drainCorrections(server: DrainingServer, worker: WorkerSnapshot): Correction[] {
  const is = worker.backends.get(server.backend)?.get(server.id);
  if (is?.state !== "ready") return [];
  return [{ reason: `server ${path(server)} leaves`, commands: [`set server ${path(server)} state drain`] }];
}

/** Servers that somebody added by hand: neither wanted nor leaving. */
export function unknownServers(
  { placed, leaving }: ServerAssignments,
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
