import type { ProcessState, Reason } from "../../../model/process/process-state";
import { restartsWithin } from "../../../model/process/restart";
import { readStat } from "../../processes/identity";
import type { ProcessRecord } from "../../processes/process-manager";
import { fromLabels, type Labels } from "../launch/labels";
import type { LastExit } from "./process-state-store";
import type { SupervisedProcess, SupervisionContext } from "./supervised-process";

/** A process of a pool, as the agent's answers show it. */
export interface InstanceStatus extends Pick<Labels, "key" | "process" | "policy" | "generation" | "release"> {
  id: string;
  state: ProcessState;
  /** Since when it is in this state, ISO 8601. */
  since?: string | undefined;
  /** Why it is in this state, where that is known. */
  reason?: Reason | undefined;
  /** Whether it should run, now that everything is as it is: others leave. */
  wanted: boolean;
  /** 0, 1, ... of its replicas. */
  index: number;
  port?: number | undefined;
  pid?: number | undefined;
  /** Start of the running process, ISO 8601. */
  startedAt?: string | undefined;
  /** Whether a signal such as SIGSTOP has stopped it. */
  suspended?: boolean | undefined;
  /** Whether its output is lost, since its file was deleted. */
  outputLost?: boolean | undefined;
  /** Uptime of the running process, in milliseconds. */
  uptimeMs?: number | undefined;
  /** Memory of the running process with its whole group, at most 5 s old. */
  memoryBytes?: number | undefined;
  /**
   * Result of its health check: HAProxy's for a proxied process, its own for others. Nothing where there is none, or no
   * result yet.
   */
  health?: "healthy" | "unhealthy" | undefined;
  /** All restarts that nobody asked for. */
  restarts: number;
  /** Restarts that count against its restart policy now. */
  restartsInWindow: number;
  /** After so many it has failed. */
  maxRestarts?: number | undefined;
  /** When it is started again, ISO 8601: in `backoff` only. */
  dueAt?: string | undefined;
  /** How it ended the last time. */
  lastExit?: LastExit | undefined;
}

/** All processes of a pool: those that should run, and those that leave. */
export function statusesOf(
  pool: string,
  { processes, processStates }: SupervisionContext,
  supervised: Iterable<SupervisedProcess>,
): InstanceStatus[] {
  const wanted = new Map(
    [...supervised]
      .filter(({ instance }) => instance.pool === pool)
      .map((supervised) => [supervised.instance.id, supervised]),
  );
  const found = processes.list().flatMap((record) => {
    const labels = fromLabels(record.labels);
    return labels?.pool === pool ? [{ id: record.id, labels, record }] : [];
  });
  const known = new Set(found.map(({ id }) => id));
  const missing = [...wanted]
    .filter(([id]) => !known.has(id))
    .map(([id, { instance }]) => ({
      id,
      labels: { ...instance, policy: instance.template.policy, release: instance.release.id },
      record: undefined,
    }));
  const now = Date.now();
  return [...found, ...missing].map(({ id, labels, record }): InstanceStatus => {
    const supervised = wanted.get(id);
    const state = processStates.get(id);
    const policy = supervised?.instance.template.restart;
    const { process, generation, release, port } = labels;
    return {
      id,
      key: supervised?.instance.key ?? labels.key,
      process,
      policy: labels.policy,
      generation,
      release,
      wanted: supervised !== undefined,
      index: supervised?.instance.index ?? Number(/#(\d+)$/.exec(labels.key)?.[1] ?? 0),
      port,
      state: state?.state ?? (isAlive(record) ? "running" : "stopped"),
      since: state === undefined ? undefined : new Date(state.since).toISOString(),
      reason: state?.reason,
      restarts: state?.restarts ?? 0,
      restartsInWindow: policy === undefined ? 0 : restartsWithin(policy, state?.history ?? [], now).length,
      maxRestarts: policy?.maxRestarts,
      dueAt: state?.state === "backoff" && state.dueAt !== undefined ? new Date(state.dueAt).toISOString() : undefined,
      lastExit: state?.lastExit,
      ...(isAlive(record)
        ? {
            pid: record.pid,
            startedAt: record.startedAt,
            uptimeMs: Math.max(0, now - Date.parse(record.startedAt)),
            ...(isSuspended(record.pid) ? { suspended: true } : {}),
            ...(processes.isOutputLost(id) ? { outputLost: true } : {}),
          }
        : {}),
    };
  });
}

function isSuspended(pid: number | undefined): boolean {
  return pid !== undefined && readStat(pid)?.state === "T";
}

function isAlive(record: ProcessRecord | undefined): record is ProcessRecord {
  return record !== undefined && record.state !== "exited";
}
