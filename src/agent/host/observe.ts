import { serverState } from "../../model/edge/backend";
import { listensOn } from "../../model/edge/edge";
import { candidateInstances, serverName, servingInstances } from "../../model/pool/pool-instances";
import { hasServed } from "../../model/pool/pool-promotion";
import type { PoolState } from "../../model/pool/pool-state";
import { WAITING } from "../../model/process/takeover";
import {
  type BackendLive,
  type CandidateLive,
  type EdgeLive,
  expectedBackend,
  expectedCandidate,
  expectedPool,
  hostPort,
  type LiveServer,
  type PoolLive,
} from "../../model/protocol/live";
import { type Step, targetOf } from "../../model/protocol/transaction";
import { formatSplit } from "../../model/route/split";
import { candidateBackend } from "../../model/types/names";
import type { BackendObservation, EdgeAnswer, PlanAnswer, PoolObservation, PoolShareAnswer } from "../api/answers";
import { ApiError } from "../api/api-error";
import { sharersOf } from "../haproxy/config/ports";
import type { EdgeObservation, ServerObservation } from "../haproxy/observation";
import type { InstanceStatus } from "../pools/supervise/status";
import { backendsOf, routesOf } from "../state/desired";
import { describeFound, takeoverPlan } from "../takeover/edge-takeover";
import { liveTakeover } from "../takeover/problems";
import { observeShare } from "../transactions/pool-share";
import { planRoute } from "../transactions/routes";
import type { Host } from "./host";

/** Observes an edge and the health of its backends. */
export async function observeEdge(host: Host, name: string): Promise<EdgeAnswer> {
  const edge = await observeEdgeAlone(host, name);
  return {
    ...edge,
    backends: host.backendsHealth(name, edge.observed),
    errors: host.haproxy(name).errorShares(),
    sharers: await sharers(host, edge),
  };
}

async function sharers(host: Host, { name, observed }: Pick<EdgeAnswer, "name" | "observed">): Promise<string[]> {
  const { running, master, worker, oldWorkers } = observed;
  const spec = host.working().edges[name];
  if (!running || spec === undefined) return [];
  const own = [master, worker?.pid, ...oldWorkers.map(({ pid }) => pid)].filter((pid) => pid !== undefined);
  return sharersOf(listensOn(spec), own);
}

/** Observes an edge. */
export async function observeEdgeAlone(host: Host, name: string): Promise<Omit<EdgeAnswer, "backends">> {
  if (host.working().edges[name] === undefined) throw notFound(`edge ${name}`);
  const observed = await host.haproxy(name).observe();
  const live = edgeLive(observed, host.waits(name));
  const old = await liveTakeover(host, `edge/${name}`, host.working().edges[name]?.takeover);
  const owner = host.committed.owners[`edge/${name}`];
  return { name, owner, live: { ...live, ...old }, observed };
}

function configLive({ file, workerRunsFile, renewed }: EdgeObservation): EdgeLive["config"] {
  if (file !== "ours") return "changed by hand";
  if (!workerRunsFile) return "not loaded";
  return renewed ? "without a renewed certificate" : "as declared";
}

function edgeLive(observed: EdgeObservation, waits: boolean): EdgeLive {
  const { running, frontends } = observed;
  const shown = (status: string) => (waits && status === "open" ? WAITING : status);
  return {
    haproxy: running ? "running" : "stopped",
    config: configLive(observed),
    frontends: Object.fromEntries(Object.entries(frontends).map(([name, { status }]) => [name, shown(status)])),
  };
}

/**
 * Observes a pool: its release that serves, its servers in HAProxy, its processes.
 *
 * @param o.blind leaves out what HAProxy knows, and asks it nothing. @default false
 */
export async function observePool(host: Host, name: string, { blind = false } = {}): Promise<PoolObservation> {
  const working = host.working();
  const state = working.pools[name];
  if (state === undefined) throw notFound(`pool ${name}`);
  const processes = await host.supervisor.status(name);
  const serving = state[state.serving];
  const { edge, strategy } = state.settings;
  const servers = edge === undefined || blind ? undefined : await serversOf(host, edge, name);
  const byServer = new Map(servingInstances(name, state).map((instance) => [serverName(instance), instance.key]));
  const leading = state[state.singletonsOf] ?? serving;
  const expected = expectedPool({
    strategy,
    release: serving?.release ?? { id: "", path: "/" },
    processes: {
      ...leading?.processes,
      ...Object.fromEntries(Object.entries(state.services).map(([id, { template }]) => [id, template])),
    },
  });
  const generations = new Set([state.current?.number, state.next?.number, state.candidate?.generation.number]);
  const share = blind ? undefined : await observeShare(host, name);
  const candidateServers =
    edge === undefined || blind ? undefined : await serversOf(host, edge, candidateBackend(name));
  const candidate = observeCandidate(name, state, { share, processes, servers: candidateServers });
  const live: PoolLive = {
    release: serving?.release.id ?? "",
    servers: blind ? {} : liveServers(servers, Object.keys(expected.servers), (id) => byServer.get(id)),
    processes: liveProcesses(processes, Object.keys(expected.processes), serving?.number),
    ...(candidate === undefined ? {} : { candidate }),
    ...(await liveTakeover(host, `pool/${name}`, state.settings.takeover)),
  };
  return {
    name,
    owner: host.committed.owners[`pool/${name}`],
    edge,
    live,
    generation: serving?.number ?? 0,
    running: [state.current, state.next, state.candidate?.generation].flatMap((one) => one?.release ?? []),
    candidate: share,
    withdrawn: state.withdrawn,
    retained: await Promise.all(
      state.retained.map(async ({ release, retiredAt }) => {
        const there =
          (await host.retainedReleases.isThere(release)) || (await host.retainedReleases.has(name, state, release));
        return { release, retiredAt, ...(there ? {} : { gone: true }) };
      }),
    ),
    ...(serving !== undefined && !(await host.retainedReleases.isThere(serving.release)) ? { folderGone: true } : {}),
    processes: processes.map((process) => ({
      ...process,
      health: process.health ?? healthAtEdge(process, { ...servers, ...candidateServers }),
      // A service outlives the release that started it.
      current: process.policy === "service" ? process.wanted : generations.has(process.generation),
      startsFrom: startsFrom(process, state, host.committed.pools[name]),
    })),
  };
}

/** State of each expected process: of the generation that serves, or of a service, which outlives its own. */
function liveProcesses(
  processes: InstanceStatus[],
  keys: string[],
  serving: number | undefined,
): PoolLive["processes"] {
  return Object.fromEntries(
    keys.map((key) => {
      const candidates = processes.filter(
        (process) => process.key === key && (process.policy === "service" || process.generation === serving),
      );
      const current = candidates.find(({ wanted }) => wanted) ?? candidates[0];
      return [key, current?.state ?? "missing"];
    }),
  );
}

/**
 * The release of an open promotion that starts a service which does not run; undefined if that is up to the one in
 * force.
 */
function startsFrom(
  { policy, wanted, state, process }: InstanceStatus,
  { services }: PoolState,
  committed: PoolState | undefined,
): string | undefined {
  if (policy !== "service" || !wanted || state === "running") return undefined;
  const [before, now] = [committed?.services[process], services[process]];
  return before === undefined || before.generation === now?.generation ? undefined : now?.release.id;
}

/** State of a pool's candidate; undefined if it takes no share. */
function observeCandidate(
  name: string,
  state: PoolState,
  {
    share,
    processes,
    servers,
  }: {
    share: PoolShareAnswer | undefined;
    processes: readonly InstanceStatus[];
    servers: Record<string, ServerObservation> | undefined;
  },
): CandidateLive | undefined {
  if (state.candidate === undefined || share?.share === undefined) return undefined;
  const { generation } = state.candidate;
  const split = share.now === null ? "none" : formatSplit(share.now);
  const expected = expectedCandidate(generation, split);
  const byServer = new Map(candidateInstances(name, state).map((instance) => [serverName(instance), instance.key]));
  const stateOf = (key: string) =>
    processes.find((process) => process.key === key && process.generation === generation.number)?.state ?? "missing";
  return {
    ...expected,
    servers: liveServers(servers, Object.keys(expected.servers), (id) => byServer.get(id)),
    processes: Object.fromEntries(Object.keys(expected.processes).map((key) => [key, stateOf(key)])),
  };
}

/** Health of a proxied process by HAProxy's check; undefined if it has no server there. */
function healthAtEdge(
  { policy, port }: InstanceStatus,
  servers: Record<string, ServerObservation> | undefined,
): InstanceStatus["health"] {
  if (policy !== "proxied") return undefined;
  const server = Object.values(servers ?? {}).find((each) => each.port === port && each.leavingUntil === undefined);
  if (server === undefined || server.operational === "unchecked") return undefined;
  return server.operational === "up" ? "healthy" : "unhealthy";
}

/** Observes a backend whose servers something else runs. */
export async function observeBackend(host: Host, edge: string, name: string): Promise<BackendObservation> {
  const spec = host.working().backends[`${edge}/${name}`];
  if (spec === undefined) throw notFound(`backend ${name} of edge ${edge}`);
  const found = await serversOf(host, edge, name);
  const live: BackendLive = { servers: {} };
  for (const [id, server] of Object.entries(found ?? {})) {
    if (server.leavingUntil !== undefined) continue;
    live.servers[server.name ?? id] = {
      address: hostPort(server.address, server.port),
      state: server.state,
      weight: server.weight,
      ...checkOf(server),
    };
  }
  for (const [id, { address }] of Object.entries(expectedBackend(spec).servers))
    live.servers[id] ??= { address, state: "missing", weight: 0 };
  return { name, edge, owner: host.committed.owners[`backend/${edge}/${name}`], live };
}

/** Servers of a backend as HAProxy has them; none when the backend is not loaded. */
async function serversOf(
  host: Host,
  edge: string,
  backend: string,
): Promise<Record<string, ServerObservation> | undefined> {
  if (host.working().edges[edge] === undefined) return undefined;
  const { backends } = await host.haproxy(edge).observe();
  return backends[backend];
}

function checkOf({ operational }: ServerObservation): Pick<LiveServer, "check"> {
  return operational === "unchecked" ? { check: "off" } : {};
}

function liveServers(
  found: Record<string, ServerObservation> | undefined,
  expected: string[],
  keyOf: (id: string) => string | undefined,
): Record<string, LiveServer> {
  const present = Object.entries(found ?? {}).flatMap(([id, server]): [string, LiveServer][] => {
    const { name, state, weight, leavingUntil } = server;
    if (leavingUntil !== undefined) return [];
    return [[keyOf(name ?? id) ?? id, { state: serverState.parse(state), weight, ...checkOf(server) }]];
  });
  const missing = expected.map((key): [string, LiveServer] => [key, { state: "missing", weight: 0 }]);
  return { ...Object.fromEntries(missing), ...Object.fromEntries(present) };
}

/** Plans a step without doing it. */
export async function planStep(host: Host, step: Step): Promise<PlanAnswer> {
  const answer = await planReality(host, step);
  const from = host.committed.owners[targetOf(step)]?.urn;
  if (from === undefined) return answer;
  const asItRuns =
    step.verb === "pool.start"
      ? !host.isNewGeneration(step.pool, step.spec, step.secrets)
      : ["nothing", "runtime", "reload"].includes(answer.how);
  return { ...answer, taken: { from, asItRuns } };
}

async function planReality(host: Host, step: Step): Promise<PlanAnswer> {
  const { edges } = host.working();
  const routes = "edge" in step ? routesOf(host.working(), step.edge) : {};
  if (step.verb === "edge.set") return planEdge(host, step);
  if (step.verb === "route.set") return planRoute(host, step);
  if (step.verb === "pool.start") return planPool(host, step);
  if (step.verb !== "backend.set") return { how: "nothing", reasons: [] };
  const spec = edges[step.edge];
  if (spec === undefined) return { how: "nothing", reasons: [`edge ${step.edge} is not on this agent yet`] };
  return host
    .haproxy(step.edge)
    .plan(spec, { ...backendsOf(host.working(), step.edge), [step.backend]: step.spec }, routes);
}

async function planEdge(host: Host, { edge, spec }: Extract<Step, { verb: "edge.set" }>): Promise<PlanAnswer> {
  const applied = host.asApplied(edge, spec);
  const working = host.working();
  const { how, reasons } = await host.haproxy(edge).plan(applied, backendsOf(working, edge), routesOf(working, edge));
  if (spec.takeover === undefined) return { how, reasons };
  const found = await host.findExisting(`edge/${edge}`, spec.takeover);
  return { how, reasons, takeover: takeoverPlan(spec, found, applied !== spec) };
}

/** Side by side, nobody notices; in place, a new release and a changed process need a restart. */
async function planPool(host: Host, step: Extract<Step, { verb: "pool.start" }>): Promise<PlanAnswer> {
  const { pool, spec } = step;
  const found = await host.findExisting(`pool/${pool}`, spec.takeover ?? []);
  const when = spec.strategy === "in-place" ? "before anything of the pool starts" : "just before its singletons start";
  const changed = await host.changedReleases(step);
  return {
    ...planRestart(host, step),
    down: host.supervisor.downServices(pool),
    served: changed.length === 0 && hasServed(host.committed.pools[pool], host.wantedPool(step)),
    changed: [...changed, ...(await host.goneRelease(step))],
    takeover: describeFound(found, `it ends ${when}`),
  };
}

function planRestart(host: Host, step: Extract<Step, { verb: "pool.start" }>): PlanAnswer {
  const { pool, spec, secrets } = step;
  if (spec.strategy !== "in-place") return { how: "nothing", reasons: [], candidate: host.candidateOutcome(step) };
  const current = host.committed.pools[pool]?.current;
  if (!host.isNewGeneration(pool, spec, secrets)) return { how: "nothing", reasons: [] };
  const before = current === undefined ? "nothing has run yet" : `release ${current.release.id} runs`;
  return { how: "restart", reasons: [before] };
}

function notFound(what: string): ApiError {
  return new ApiError(404, "not-found", `${what} is not on this agent`);
}
