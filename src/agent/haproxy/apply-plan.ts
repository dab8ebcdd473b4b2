import type { BackendSpec } from "../../model/edge/backend";
import { SCRIPT_FILE } from "../mirror/script";
import type { EdgeRecord } from "./config/record";
import { isUntouched, type Rendered } from "./config/render";
import { SPLITS_FILE, splitsText } from "./config/routes";
import { corrections, shutFrontends, unknownServers } from "./corrections";
import { differences } from "./differences";
import type { FilesOnDisk } from "./edge-files";
import { drainMs, path, type ServerAssignments } from "./runtime/server-assignments";
import type { WorkerSet } from "./runtime/worker-set";

/** How a wanted state gets into HAProxy: not at all, by its runtime API, by a hitless reload, or by starting it. */
type ApplyMethod = "nothing" | "runtime" | "reload" | "start";

export interface ApplyPlan {
  how: ApplyMethod;
  /** Why, in sentences such as `timeouts.client 1 minute -> 30 seconds`. */
  reasons: string[];
}

export interface PlanInput extends FilesOnDisk {
  /** The record of the last apply. */
  before: EdgeRecord | undefined;
  /** The running workers; undefined if HAProxy does not run. */
  workers: WorkerSet | undefined;
  /** The wanted record. */
  record: EdgeRecord;
  /** The wanted config. */
  rendered: Rendered;
  /** Digests of the certificates by path. */
  certificates: Record<string, string>;
}

/** Plans how HAProxy and its file become as wanted, and why. */
export function planApply({
  before,
  workers,
  record,
  rendered,
  disk,
  splitsOnDisk,
  scriptOnDisk,
  certificates,
}: PlanInput): ApplyPlan {
  const changes = differences(
    { ...before?.spec, backends: before?.backends ?? {}, routes: before?.routes ?? {} },
    { ...record.spec, backends: record.backends, routes: record.routes },
  );
  if (workers === undefined) return { how: "start", reasons: ["HAProxy is not running", ...changes] };
  const structural = structuralReasons(workers, rendered, disk);
  // Drift is what differs from the last wanted state; what the new one changes is said already.
  const drift = before === undefined ? [] : driftReasons(before, workers);
  if (structural.length > 0) {
    const declaredReasons =
      changes.length > 0
        ? changes
        : renewedCertificates(certificates, disk).map((path) => `certificate ${path} has changed`);
    return {
      how: "reload",
      reasons: unique([...declaredReasons, ...structural.filter(isNews(declaredReasons)), ...drift]),
    };
  }
  const splitsDiffer = rendered.splits !== undefined && splitsOnDisk !== rendered.splits;
  const scriptDiffers = rendered.script !== undefined && scriptOnDisk !== rendered.script;
  if (corrections(record, workers).length > 0 || disk !== rendered.text || splitsDiffer || scriptDiffers) {
    const missing = [
      ...(disk === undefined ? ["haproxy.cfg is missing"] : []),
      ...(splitsDiffer && before !== undefined && splitsOnDisk !== splitsText(before.routes, before.backends)
        ? [`${SPLITS_FILE} was changed by hand`]
        : []),
      ...(scriptDiffers ? [`${SCRIPT_FILE} was changed by hand`] : []),
    ];
    return { how: "runtime", reasons: unique([...changes, ...drift, ...missing]) };
  }
  return { how: "nothing", reasons: changes };
}

/** Paths of certificates that are others than those which the config on disk was written for. */
export function renewedCertificates(digests: Record<string, string>, disk: string | undefined): string[] {
  return Object.entries(digests).flatMap(([path, digest]) =>
    disk?.includes(`# certificate ${digest}\n`) ? [] : [path],
  );
}

/** Servers that somebody added by hand leave as others do. */
export function withUnknown(
  assignments: ServerAssignments,
  backends: Record<string, BackendSpec>,
  workers: WorkerSet | undefined,
): ServerAssignments {
  if (workers === undefined) return assignments;
  const unknown = unknownServers(assignments, workers.current)
    .filter(({ backend }) => backends[backend] !== undefined)
    .map(({ backend, id, address, port }) => ({
      backend,
      id,
      address,
      port,
      deadline: Date.now() + drainMs(backends[backend]),
    }));
  return { ...assignments, leaving: [...assignments.leaving, ...unknown] };
}

function driftReasons(before: EdgeRecord, workers: WorkerSet): string[] {
  return [
    ...corrections(before, workers).map(({ reason }) => reason),
    ...unknownServers(before, workers.current).map((server) => `server ${path(server)} was added by hand`),
  ];
}

function structuralReasons({ current }: WorkerSet, rendered: Rendered, disk: string | undefined): string[] {
  return [
    ...(current.structure === rendered.structure ? [] : [OTHER_CONFIG]),
    ...(disk !== undefined && !isUntouched(disk) ? ["haproxy.cfg was changed by hand"] : []),
    ...shutFrontends(current).map((name) => `frontend ${name} was shut down`),
  ];
}

const OTHER_CONFIG = "the running worker has another config";

/** That the running config differs is no news where it is said what was changed. */
function isNews(changes: readonly string[]): (reason: string) => boolean {
  return (reason) => reason !== OTHER_CONFIG || changes.length === 0;
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
