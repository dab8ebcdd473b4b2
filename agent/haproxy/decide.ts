import type { BackendSpec } from "../../model/backend";
import { differences } from "./differences";
import { fleetMends, shutFrontends, unknownServers } from "./drift";
import type { Fleet } from "./fleet";
import type { EdgeRecord } from "./record";
import { isUntouched, type Rendered } from "./render";
import { SPLITS_FILE, splitsText } from "./routes";
import { drainMs, type Placement, path } from "./servers";

/** How a wanted state gets into HAProxy: not at all, by its runtime API, by a hitless reload, or by starting it. */
type How = "nothing" | "runtime" | "reload" | "start";

export interface Plan {
  how: How;
  /** Why, in sentences such as `timeouts.client 1 minute -> 30 seconds`. */
  reasons: string[];
}

export interface Facts {
  /** What was last applied. */
  before: EdgeRecord | undefined;
  /** What runs; nothing where HAProxy does not. */
  fleet: Fleet | undefined;
  /** What is wanted. */
  record: EdgeRecord;
  /** The config of what is wanted. */
  rendered: Rendered;
  /** The config on disk. */
  disk: string | undefined;
  /** The map of splits on disk. */
  splitsOnDisk: string | undefined;
  /** Digests of the certificates by path. */
  certificates: Record<string, string>;
}

/** What must be done so that HAProxy and its file are as wanted, and why. */
export function decide({ before, fleet, record, rendered, disk, splitsOnDisk, certificates }: Facts): Plan {
  const changes = differences(
    { ...before?.spec, backends: before?.backends ?? {}, routes: before?.routes ?? {} },
    { ...record.spec, backends: record.backends, routes: record.routes },
  );
  if (fleet === undefined) return { how: "start", reasons: ["HAProxy is not running", ...changes] };
  const structural = structuralReasons(fleet, rendered, disk);
  // Drift is what differs from the last wanted state; what the new one changes is said already.
  const drift = before === undefined ? [] : driftReasons(before, fleet);
  if (structural.length > 0) {
    const said = changes.length > 0 ? changes : renewed(certificates, disk);
    return { how: "reload", reasons: unique([...said, ...structural.filter(known(said)), ...drift]) };
  }
  const splitsDiffer = rendered.splits !== undefined && splitsOnDisk !== rendered.splits;
  if (fleetMends(record, fleet).length > 0 || disk !== rendered.text || splitsDiffer) {
    const missing = [
      ...(disk === undefined ? ["haproxy.cfg is missing"] : []),
      ...(splitsDiffer && before !== undefined && splitsOnDisk !== splitsText(before.routes, before.backends)
        ? [`${SPLITS_FILE} was changed by hand`]
        : []),
    ];
    return { how: "runtime", reasons: unique([...changes, ...drift, ...missing]) };
  }
  return { how: "nothing", reasons: changes };
}

function renewed(certificates: Record<string, string>, disk: string | undefined): string[] {
  return Object.entries(certificates).flatMap(([path, digest]) =>
    disk?.includes(`# certificate ${digest}\n`) ? [] : [`certificate ${path} has changed`],
  );
}

/** Servers that somebody added by hand leave as others do. */
export function withUnknown(
  placement: Placement,
  backends: Record<string, BackendSpec>,
  fleet: Fleet | undefined,
): Placement {
  if (fleet === undefined) return placement;
  const unknown = unknownServers(placement, fleet.current)
    .filter(({ backend }) => backends[backend] !== undefined)
    .map(({ backend, id, address, port }) => ({
      backend,
      id,
      address,
      port,
      deadline: Date.now() + drainMs(backends[backend]),
    }));
  return { ...placement, leaving: [...placement.leaving, ...unknown] };
}

function driftReasons(before: EdgeRecord, fleet: Fleet): string[] {
  return [
    ...fleetMends(before, fleet).map(({ reason }) => reason),
    ...unknownServers(before, fleet.current).map((server) => `server ${path(server)} was added by hand`),
  ];
}

function structuralReasons({ current }: Fleet, rendered: Rendered, disk: string | undefined): string[] {
  return [
    ...(current.structure === rendered.structure ? [] : [OTHER_CONFIG]),
    ...(disk !== undefined && !isUntouched(disk) ? ["haproxy.cfg was changed by hand"] : []),
    ...shutFrontends(current).map((name) => `frontend ${name} was shut down`),
  ];
}

const OTHER_CONFIG = "the running worker has another config";

/** That the running config differs is no news where it is said what was changed. */
function known(changes: readonly string[]): (reason: string) => boolean {
  return (reason) => reason !== OTHER_CONFIG || changes.length === 0;
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
