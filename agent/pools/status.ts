import type { ProcessState, Reason } from "../../model/process-state";
import { restartsWithin } from "../../model/restart";
import type { ProcessRecord } from "../processes/host";
import { readStat } from "../processes/identity";
import { fromLabels, type Labels } from "./labels";
import type { LastExit } from "./ledger";
import type { PoolHost, Slot } from "./slot";

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
  /** Of what runs, ISO 8601. */
  startedAt?: string | undefined;
  /** Whether a signal such as SIGSTOP has stopped it. */
  suspended?: boolean | undefined;
  /** Of what runs, in milliseconds. */
  uptimeMs?: number | undefined;
  /** Of what runs, with its whole process group, at most 5 s old. */
  memoryBytes?: number | undefined;
  /**
   * What its health check says: of a proxied process HAProxy's, of others their own. Nothing where there is none, or no
   * result yet.
   */
  health?: "healthy" | "unhealthy" | undefined;
  /** All restarts that nobody asked for. */
  restarts: number;
  /** Those that count against its restart policy now. */
  restartsInWindow: number;
  /** After so many it has failed. */
  maxRestarts?: number | undefined;
  /** When it is started again, ISO 8601: in `backoff` only. */
  dueAt?: string | undefined;
  /** How it ended the last time. */
  lastExit?: LastExit | undefined;
}

/** All processes of a pool: those that should run, and those that leave. */
export function statusesOf(pool: string, { processes, lives }: PoolHost, slots: Iterable<Slot>): InstanceStatus[] {
  const wanted = new Map(
    [...slots].filter(({ instance }) => instance.pool === pool).map((slot) => [slot.instance.id, slot]),
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
    const slot = wanted.get(id);
    const life = lives.get(id);
    const policy = slot?.instance.template.restart;
    const { process, generation, release, port } = labels;
    return {
      id,
      key: slot?.instance.key ?? labels.key,
      process,
      policy: labels.policy,
      generation,
      release,
      wanted: slot !== undefined,
      index: slot?.instance.index ?? Number(/#(\d+)$/.exec(labels.key)?.[1] ?? 0),
      port,
      state: life?.state ?? (isAlive(record) ? "running" : "stopped"),
      since: life === undefined ? undefined : new Date(life.since).toISOString(),
      reason: life?.reason,
      restarts: life?.restarts ?? 0,
      restartsInWindow: policy === undefined ? 0 : restartsWithin(policy, life?.history ?? [], now).length,
      maxRestarts: policy?.maxRestarts,
      dueAt: life?.state === "backoff" && life.dueAt !== undefined ? new Date(life.dueAt).toISOString() : undefined,
      lastExit: life?.lastExit,
      ...(isAlive(record)
        ? {
            pid: record.pid,
            startedAt: record.startedAt,
            uptimeMs: Math.max(0, now - Date.parse(record.startedAt)),
            ...(isSuspended(record.pid) ? { suspended: true } : {}),
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
