import { stat } from "node:fs/promises";
import { collide, listensOn } from "../../model/edge/edge";
import { identityOf } from "../../model/pool/identity";
import type { PoolSpec } from "../../model/pool/pool";
import type { SecretNames } from "../../model/pool/pool-problems";
import { templatesIn } from "../../model/process/template";
import type { Step } from "../../model/protocol/transaction";
import { codeOf } from "../../model/types/errors";
import { ApiError, type StepProblem } from "../api/api-error";
import type { Host } from "../host/host";
import { backendsOf, type Desired, routesOf } from "../state/desired";
import { takeoverProblems } from "../takeover/problems";
import { processProblems } from "./process-problems";
import { routeProblems, routesTo } from "./routes";
import { serverProblems } from "./servers";

/** How a missing release folder is described. */
const MISSING = "does not exist";

/**
 * Why a step can't be done on this host. Used before a step runs, and by previews.
 *
 * @param options.preview things that the same update may still create (the edge) are no problem yet
 */
export async function stepProblems(step: Step, host: Host, { preview = false } = {}): Promise<StepProblem[]> {
  switch (step.verb) {
    case "edge.set":
      return edgeProblems(step, host);
    case "backend.set":
      return backendProblems(step, host, preview);
    case "server.drain":
    case "server.enable":
      return serverProblems(step, host, { preview });
    case "pool.start":
      return poolProblems(step, host, preview);
    case "edge.remove":
      return removalProblems(step.edge, host, preview);
    case "backend.remove":
      return inUseProblems(step.edge, step.backend, host, preview);
    case "pool.remove":
      return inUseProblems(host.working().pools[step.pool]?.settings.edge ?? "", step.pool, host, preview);
    case "route.set":
      return routeProblems(step, host, { preview });
    default:
      return [];
  }
}

/** @throws ApiError `refused` with everything that speaks against a step on this host now */
export async function assertPossible(step: Step, host: Host): Promise<void> {
  const problems = await stepProblems(step, host);
  if (problems.length === 0) return;
  const message = problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("\n");
  throw new ApiError(422, "refused", message, { problems });
}

async function edgeProblems({ edge, spec }: Extract<Step, { verb: "edge.set" }>, host: Host): Promise<StepProblem[]> {
  const others = Object.entries(host.working().edges).filter(([name]) => name !== edge);
  const taken = others.flatMap(([name, other]) => listensOn(other).map((listener) => ({ ...listener, name })));
  const own = listensOn(spec);
  const collisions = own.flatMap(({ path, ...listener }, index) => {
    const twin = own.slice(0, index).find((earlier) => collide(earlier, listener));
    const other = taken.find((theirs) => collide(theirs, listener));
    const at = `${listener.address}:${listener.port}`;
    if (twin !== undefined) return [{ path, message: `${at} is declared twice (also ${twin.path}): use another port` }];
    if (other !== undefined)
      return [{ path, message: `${at} is the address of edge ${other.name} on this host: use another port` }];
    return [];
  });
  if (collisions.length > 0) return collisions;
  const old = await takeoverProblems(host, `edge/${edge}`, spec.takeover, spec);
  if (old.length > 0) return old;
  try {
    await host.haproxy(edge).check(spec, backendsOf(host.working(), edge), routesOf(host.working(), edge));
    return [];
  } catch (error) {
    return [{ path: "", message: (error as Error).message }];
  }
}

function backendProblems(
  { edge, backend }: Extract<Step, { verb: "backend.set" }>,
  host: Host,
  preview: boolean,
): StepProblem[] {
  const { edges, pools } = host.working();
  const noEdge = edges[edge] === undefined && !preview ? [unknownEdge(edge, Object.keys(edges))] : [];
  const clash = pools[backend]?.settings.edge === edge;
  return clash
    ? [
        ...noEdge,
        {
          path: "name",
          message: `${backend} is the backend of the pool of that name on edge ${edge}: use another name`,
        },
      ]
    : noEdge;
}

function removalProblems(edge: string, host: Host, preview: boolean): StepProblem[] {
  if (preview) return [];
  const { pools } = host.working();
  const users = [
    ...Object.keys(backendsOf(host.working(), edge))
      .filter((name) => pools[name] === undefined)
      .map((name) => `backend ${name}`),
    ...Object.entries(pools)
      .filter(([, { settings }]) => settings.edge === edge)
      .map(([name]) => `pool ${name}`),
    ...Object.keys(routesOf(host.working(), edge)).map((name) => `route ${name}`),
  ];
  return users.length === 0
    ? []
    : [{ path: "", message: `edge ${edge} still serves ${users.join(", ")}: remove them first` }];
}

/** A backend that goes must not take requests that would then be answered with 503. */
function inUseProblems(edge: string, backend: string, host: Host, preview: boolean): StepProblem[] {
  const users = preview ? [] : routesTo(host.working(), edge, backend);
  return users.length === 0
    ? []
    : [
        {
          path: "",
          message: `backend ${backend} of edge ${edge} still takes requests of route ${users.join(", ")}: lead them elsewhere first`,
        },
      ];
}

async function poolProblems(
  { pool, spec, secrets, canary }: Extract<Step, { verb: "pool.start" }>,
  host: Host,
  preview: boolean,
): Promise<StepProblem[]> {
  const { edges, pools, backends } = host.working();
  const problems: StepProblem[] = [];
  if (spec.edge !== undefined && edges[spec.edge] === undefined && !preview)
    problems.push(unknownEdge(spec.edge, Object.keys(edges)));
  if (backends[`${spec.edge}/${pool}`] !== undefined)
    problems.push({
      path: "name",
      message: `edge ${spec.edge} has a backend named ${pool}, which is not this pool's: use another name`,
    });
  const { strategy, edge: before } = host.committed.pools[pool]?.settings ?? {};
  if (strategy !== undefined && strategy !== spec.strategy)
    problems.push({
      path: "strategy",
      message: `pool ${pool} is ${strategy}: it can't become ${spec.strategy} while it serves, declare another pool`,
    });
  if (before !== undefined && before !== spec.edge)
    problems.push({
      path: "edge",
      message: `pool ${pool} serves edge ${before}: a pool can't move to edge ${spec.edge}, declare another pool`,
    });
  problems.push(...portRangeProblems(pool, spec, pools));
  problems.push(...(await releaseProblems(pool, spec, host)));
  problems.push(...(await takeoverProblems(host, `pool/${pool}`, spec.takeover)));
  if (canary !== undefined) problems.push(...(await canaryProblems(pool, spec, canary, host)));
  return [...problems, ...hostEnvProblems(spec, secrets), ...servicePortProblems(pool, spec, host)];
}

/** Ports of the pool's range that other pools have. */
function portRangeProblems(pool: string, spec: PoolSpec, pools: Desired["pools"]): StepProblem[] {
  const problems: StepProblem[] = [];
  for (const [name, other] of Object.entries(pools)) {
    if (name === pool) continue;
    const { from, to } = other.settings.ports;
    if (spec.ports.from <= to && from <= spec.ports.to)
      problems.push({
        path: "ports",
        message: `${spec.ports.from}-${spec.ports.to} overlaps ${from}-${to} of pool ${name}: give each pool ports of its own`,
      });
    for (const [service, { template }] of Object.entries(other.services)) {
      const { port } = template;
      if (typeof port === "number" && port >= spec.ports.from && port <= spec.ports.to)
        problems.push({
          path: "ports",
          message: `${spec.ports.from}-${spec.ports.to} holds ${port}, the port of service ${service} of pool ${name}: leave it out`,
        });
    }
  }
  return problems;
}

async function canaryProblems(
  pool: string,
  spec: PoolSpec,
  canary: NonNullable<Extract<Step, { verb: "pool.start" }>["canary"]>,
  host: Host,
): Promise<StepProblem[]> {
  const problems: StepProblem[] = [];
  if (spec.edge === undefined)
    problems.push({ path: "canary", message: "needs an edge of the pool's own, which a pool in place has not" });
  if (identityOf(canary) === identityOf(spec))
    problems.push({
      path: "canary.release",
      message: `${canary.release.id} is the pool's release already, with the same processes: name another one, or give canary its own processes`,
    });
  const candidate = { ...spec, release: canary.release, processes: canary.processes };
  const found = [
    ...(await releaseProblems(pool, candidate, host)),
    ...hostEnvProblems(candidate, canary.secrets),
    ...servicePortProblems(pool, candidate, host),
  ];
  return [...problems, ...found.map(({ path, message }) => ({ path: `canary.${path}`, message }))];
}

async function releaseProblems(pool: string, spec: PoolSpec, host: Host): Promise<StepProblem[]> {
  const { release } = spec;
  const state = host.committed.pools[pool];
  const problem = await folderProblem(release.path);
  if (problem !== undefined) {
    if (problem === MISSING && (await host.retainedReleases.has(pool, state, release))) return [];
    const kept = (state?.retained ?? []).map(({ release: { id, path } }) => `${id} (${path})`).join(", ");
    return [
      {
        path: "release.path",
        message: `${release.path} of release ${release.id} ${problem}: place the release there first${kept === "" ? "" : `; releases kept on this host: ${kept}`}`,
      },
    ];
  }
  return processProblems(spec);
}

async function folderProblem(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isDirectory() ? undefined : "is not a folder";
  } catch (error) {
    return codeOf(error) === "ENOENT" ? MISSING : `can't be read (${(error as Error).message})`;
  }
}

function hostEnvProblems({ processes }: PoolSpec, secrets: SecretNames): StepProblem[] {
  return Object.entries(processes).flatMap(([id, { command, cwd, env }]) => {
    const texts = [...(Array.isArray(command) ? command : [command]), cwd, ...plainValues(env, secrets[id] ?? [])];
    const missing = texts
      .flatMap(templatesIn)
      .filter(
        (template) => template.startsWith("host.env.") && process.env[template.slice("host.env.".length)] === undefined,
      );
    return [...new Set(missing)].map((template) => ({
      path: `processes.${id}`,
      message: `{{${template}}} is not set in the agent's environment: set it there, or use a value of your own`,
    }));
  });
}

function plainValues(env: Record<string, string>, secrets: readonly string[]): string[] {
  return Object.entries(env).flatMap(([name, value]) => (secrets.includes(name) ? [] : [value]));
}

/** A service's port must not be in another pool's range, nor another pool's service's, and stays while the service runs. */
function servicePortProblems(pool: string, { processes }: PoolSpec, host: Host): StepProblem[] {
  const running = host.committed.pools[pool]?.services ?? {};
  const others = Object.entries(host.working().pools).filter(([name]) => name !== pool);
  return Object.entries(processes).flatMap(([id, { port }]) => {
    if (typeof port !== "number") return [];
    const before = running[id]?.template.port;
    if (before !== undefined && before !== port)
      return [
        {
          path: `processes.${id}.port`,
          message: `${port} is not the port ${before} of the running service ${id}, which promotions do not restart: declare a service of another name with the new port, and remove this one`,
        },
      ];
    const owner = others.find(
      ([, { settings, services }]) =>
        (port >= settings.ports.from && port <= settings.ports.to) ||
        Object.values(services).some(({ template }) => template.port === port),
    );
    return owner === undefined
      ? []
      : [{ path: `processes.${id}.port`, message: `${port} belongs to pool ${owner[0]}: use another port` }];
  });
}

function unknownEdge(edge: string, known: string[]): StepProblem {
  return {
    path: "edge",
    message: `edge ${edge} is not on this agent (it has ${known.join(", ") || "none"}): declare it, and make this depend on it`,
  };
}
