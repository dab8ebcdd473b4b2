import type {
  AgentStatus,
  BackendObservation,
  EdgeAnswer,
  PoolObservation,
  RouteAnswer,
} from "../../agent/api/answers";
import { serverName } from "../../model/pool/pool-instances";
import { formatSplit } from "../../model/route/split";
import { candidateBackend } from "../../model/types/names";
import { exitText } from "./exit-text";
import { observed } from "./observed";
import { problemsOf } from "./problems";
import type { BackendStatus, EdgeStatus, PoolStatus, ProcessStatus, RouteStatus, StatusDocument } from "./schema";

/** Turns an agent's answer into the document that `sluice status` shows and prints. */
export function statusOf(answer: AgentStatus, where: string, now: Date): StatusDocument {
  const edges = observed(answer.edges);
  const { version, pid, since, directory, socket, guarded } = answer.agent;
  return {
    at: now.toISOString(),
    where,
    agent: { version, pid, since, directory, socket, guarded },
    problems: problemsOf(answer, now),
    transactions: answer.transactions.map(({ target, state, owner, since: opened, reason }) => ({
      target,
      state,
      who: owner.who,
      pid: owner.pid,
      since: opened,
      ...(reason === undefined ? {} : { reason }),
    })),
    edges: edges.map(edgeOf),
    routes: observed(answer.routes).map(routeOf),
    pools: observed(answer.pools).map((pool) =>
      poolOf(
        pool,
        edges.find(({ name }) => name === pool.edge),
      ),
    ),
    backends: observed(answer.backends).map(backendOf),
  };
}

function edgeOf({ name, live, observed: { version, worker, oldWorkers, frontends } }: EdgeAnswer): EdgeStatus {
  return {
    name,
    haproxy: live.haproxy,
    config: live.config,
    ...(version === undefined ? {} : { version }),
    ...(worker === undefined ? {} : { workerPid: worker.pid, workerUptimeSeconds: worker.uptimeSeconds }),
    clients: (worker?.clients ?? 0) + oldWorkers.reduce((sum, { clients }) => sum + clients, 0),
    oldWorkers: oldWorkers.length,
    frontends: Object.entries(frontends).map(([frontend, { status, clients }]) => ({
      name: frontend,
      status,
      clients,
    })),
  };
}

function routeOf({ name, spec, committed, splits }: RouteAnswer): RouteStatus {
  return {
    name,
    stable: spec.stable,
    ...(spec.candidate === undefined ? {} : { candidate: spec.candidate }),
    split: formatSplit(spec.split),
    committed: formatSplit(committed),
    ...(spec.stage === undefined ? {} : { stage: spec.stage }),
    ...(spec.mirror === undefined ? {} : { mirror: { to: spec.mirror.to, share: spec.mirror.share } }),
    edges: Object.entries(splits).map(([edge, split]) => ({
      edge,
      ...(split === null ? {} : { split: formatSplit(split) }),
    })),
  };
}

function poolOf(pool: PoolObservation, on?: EdgeAnswer): PoolStatus {
  const { name, edge, live, generation, candidate, withdrawn, retained, processes } = pool;
  return {
    name,
    ...(edge === undefined ? {} : { edge }),
    release: live.release,
    generation,
    ...(candidate === undefined
      ? {}
      : {
          candidate: {
            release: candidate.release.id,
            split: formatSplit(candidate.share?.split ?? 0),
            committed: formatSplit(candidate.committed),
          },
        }),
    ...(withdrawn === undefined ? {} : { withdrawn }),
    retained: retained.map(({ release, retiredAt }) => ({ release: release.id, retiredAt })),
    processes: processes.toSorted(byImportance).map((process) => processOf(process, name, on)),
  };
}

/** Serving processes first, then by key; leaving ones last. */
function byImportance(a: PoolObservation["processes"][number], b: PoolObservation["processes"][number]): number {
  const order = ["proxied", "companion", "singleton", "service"];
  return (
    Number(b.current) - Number(a.current) ||
    order.indexOf(a.policy) - order.indexOf(b.policy) ||
    a.key.localeCompare(b.key, "en", { numeric: true }) ||
    a.generation - b.generation
  );
}

function processOf(
  process: PoolObservation["processes"][number],
  pool: string,
  edge: EdgeAnswer | undefined,
): ProcessStatus {
  const { key, id, policy, release, current, state, restarts, restartsInWindow, lastExit } = process;
  const server = serverName(process);
  const found =
    policy === "proxied"
      ? [pool, candidateBackend(pool)]
          .flatMap((backend) => Object.values(edge?.observed.backends[backend] ?? {}))
          .find(({ name }) => name === server)
      : undefined;
  const health = found === undefined || found.state === "ready" ? process.health : found.state;
  return {
    key,
    id,
    policy,
    release,
    current,
    state,
    restarts,
    restartsInWindow,
    ...defined({
      since: process.since,
      reason: process.reason,
      lastExit: lastExit === undefined ? undefined : exitText(lastExit),
      port: process.port,
      pid: process.pid,
      startedAt: process.startedAt,
      maxRestarts: process.maxRestarts,
      memoryBytes: process.memoryBytes,
      health,
      sessions: found?.sessions,
    }),
  };
}

/** Without what is not there: JSON has no `undefined`. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function backendOf({ name, edge, live }: BackendObservation): BackendStatus {
  const servers = Object.entries(live.servers).map(([server, { address, state, weight }]) => ({
    name: server,
    address,
    state,
    weight,
  }));
  return { name, edge, servers };
}
