import type { ServerState } from "../../model/edge/backend";
import { path, type ServerAssignments } from "./runtime/server-assignments";
import { clients, type WorkerSet } from "./runtime/worker-set";

export interface ServerObservation {
  /** As declared; nothing for a server that somebody added by hand. */
  name?: string;
  address: string;
  port: number;
  state: ServerState;
  weight: number;
  /** `up`: gets requests if its state and weight say so. `unchecked`: no health check runs. */
  operational: "up" | "down" | "unchecked";
  /** Last result of HAProxy's health check, such as `L7OK`, `L4CON` or `INI` (none yet). */
  check: string;
  /** Requests, WebSockets and other streams on it now, in the current worker. */
  sessions: number;
  /** Time when the rest of its connections is cut, for a server that leaves, ISO 8601. */
  leavingUntil?: string;
}

/** State of an edge as HAProxy reports it now. */
export interface EdgeObservation {
  running: boolean;
  /** Version of the running HAProxy. */
  version?: string;
  master?: number;
  worker?: { pid: number; uptimeSeconds: number; clients: number };
  /** Workers of before a reload, which finish what they have. */
  oldWorkers: { pid: number; replacedForSeconds: number; clients: number; splits: Record<string, number> }[];
  /** The candidates' shares in 1/10,000, by `route/stable/candidate`, in the current worker. */
  splits: Record<string, number>;
  /** `open`, `disabled` (`disable frontend`) or `stopped` (`shutdown frontend`). */
  frontends: Record<string, { status: "open" | "disabled" | "stopped"; clients: number }>;
  /** Servers by their name within HAProxy, per backend. */
  backends: Record<string, Record<string, ServerObservation>>;
  /** The config on disk: as Sluice wrote it, changed by hand, or gone. */
  file: "ours" | "edited" | "missing";
  /** Whether the running worker has the config on disk. */
  workerRunsFile: boolean;
  /** Whether a certificate is another one by now than the one that the config on disk was written for. */
  renewed: boolean;
  /** Problems of certificates, one sentence each, and whether clients refuse them; an agent of before this was known leaves them out. */
  certificates?: { problem: string; refused: boolean }[];
}

const FRONTEND_STATUS: Record<string, "open" | "disabled" | "stopped"> = {
  OPEN: "open",
  PAUSED: "disabled",
  STOP: "stopped",
};

/** Puts a snapshot into the terms of the edge. */
export function observation(
  workers: WorkerSet | undefined,
  { placed, leaving }: ServerAssignments,
  file: { state: EdgeObservation["file"]; structure: string | undefined; renewed: boolean },
): Omit<EdgeObservation, "certificates"> {
  if (workers === undefined)
    return {
      running: false,
      oldWorkers: [],
      splits: {},
      frontends: {},
      backends: {},
      file: file.state,
      workerRunsFile: false,
      renewed: file.renewed,
    };
  const { current, old, processes } = workers;
  const names = new Map(placed.map((server) => [path(server), server.name]));
  const deadlines = new Map(leaving.map((server) => [path(server), new Date(server.deadline).toISOString()]));
  return {
    running: true,
    version: processes.version,
    master: processes.master,
    worker: { pid: current.pid, uptimeSeconds: current.uptimeSeconds, clients: clients(current) },
    oldWorkers: old.map(({ pid, replacedForSeconds, snapshot }) => ({
      pid,
      replacedForSeconds,
      clients: snapshot === undefined ? 0 : clients(snapshot),
      splits: Object.fromEntries(snapshot?.splits ?? []),
    })),
    splits: Object.fromEntries(current.splits),
    frontends: Object.fromEntries(
      [...current.frontends]
        .filter(([name]) => isDeclared(name))
        .map(([name, { status, sessions }]) => [
          name,
          { status: FRONTEND_STATUS[status] ?? "stopped", clients: sessions },
        ]),
    ),
    backends: Object.fromEntries(
      [...current.backends]
        .filter(([name]) => isDeclared(name))
        .map(([name, found]) => [name, serversOf(name, found, names, deadlines)]),
    ),
    file: file.state,
    workerRunsFile: file.state === "ours" && file.structure === current.structure,
    renewed: file.renewed,
  };
}

type BackendServers = WorkerSet["current"]["backends"] extends ReadonlyMap<string, infer T> ? T : never;

/** Servers of a backend, by their id in HAProxy. */
function serversOf(
  backend: string,
  found: BackendServers,
  names: ReadonlyMap<string, string>,
  deadlines: ReadonlyMap<string, string>,
): Record<string, ServerObservation> {
  return Object.fromEntries(
    [...found.values()].map(({ id, checked: _, status, ...rest }): [string, ServerObservation] => {
      const name = names.get(`${backend}/${id}`);
      const leavingUntil = deadlines.get(`${backend}/${id}`);
      return [
        id,
        {
          ...(name === undefined ? {} : { name }),
          ...rest,
          operational: status === "no check" ? "unchecked" : status.startsWith("DOWN") ? "down" : "up",
          ...(leavingUntil === undefined ? {} : { leavingUntil }),
        },
      ];
    }),
  );
}

/** Sluice's own proxies begin with an underscore, HAProxy's own with a capital. */
function isDeclared(name: string): boolean {
  return /^[a-z]/.test(name);
}
