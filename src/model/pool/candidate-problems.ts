import type { PoolProblem } from "../process/supervision-problems";
import { asObject } from "../types/objects";
import { portsPerRelease } from "./pool-ports";
import { poolProblems, type SecretNames } from "./pool-problems";

/**
 * Problems of a pool's candidate: with its own processes, or with the pool's if it declares none. Paths are those
 * within the candidate.
 *
 * @param pool the pool, of which any part may be anything
 * @param candidate its release and processes, likewise
 * @param secrets environment variables of its processes whose values are no templates
 */
export function candidateProblems(
  pool: unknown,
  { release, processes }: { release?: unknown; processes?: unknown },
  secrets: SecretNames = {},
): PoolProblem[] {
  const beside = asObject(pool);
  const found = poolProblems({ ...beside, release, processes: processes ?? beside.processes }, { secrets });
  if (processes === undefined) {
    const known = new Set(poolProblems(beside, { secrets }).map(textOf));
    return found
      .filter((problem) => problem.path[0] === "processes" && !known.has(textOf(problem)))
      .map(({ path, message }) => ({ path: ["release"], message: `does not fit ${path.join(".")}: ${message}` }));
  }
  return [
    ...found.filter(({ path }) => path[0] === "processes"),
    ...serviceProblems(asObject(processes), beside.processes),
    ...rangeProblems(beside, processes),
  ];
}

/** Services start with the pool's own release, so that one which that does not know would be missing. */
function serviceProblems(own: Record<string, unknown>, pools: unknown): PoolProblem[] {
  // Of malformed processes nothing is concluded.
  if (pools !== undefined && asObject(pools) !== pools) return [];
  return Object.entries(own).flatMap(([id, process]) => {
    const beside = asObject(pools)[id];
    const { policy = beside } = asObject(beside);
    if (asObject(process).policy !== "service" || policy === "service") return [];
    if (policy !== undefined && typeof policy !== "string") return [];
    const message = `${id} is a service that the pool does not have, and services start with the pool's release: declare it in the pool's processes first, or make it a companion`;
    return [{ path: ["processes", id, "policy"], message }];
  });
}

/** Both releases run at once, each with its ports. */
function rangeProblems({ ports, processes: pools }: Record<string, unknown>, own: unknown): PoolProblem[] {
  const { from, to } = asObject(ports);
  if (typeof from !== "number" || typeof to !== "number" || from > to) return [];
  const [stable, candidate, size] = [portsOf(pools), portsOf(own), to - from + 1];
  if (stable + candidate <= size) return [];
  const message = `need ${candidate} ${candidate === 1 ? "port" : "ports"} beside the ${stable} of the pool's own, but its ports ${from}-${to} are ${size}: widen the range`;
  return [{ path: ["processes"], message }];
}

/** Ports that well-formed processes take from the pool's range. */
function portsOf(processes: unknown): number {
  const drafts = Object.entries(asObject(processes)).flatMap(([id, process]) => {
    const { policy, port, replicas = 1 } = asObject(process);
    if (typeof policy !== "string" || typeof replicas !== "number") return [];
    return [[id, { policy, port, replicas } as Parameters<typeof portsPerRelease>[0][string]] as const];
  });
  return portsPerRelease(Object.fromEntries(drafts));
}

function textOf({ path, message }: PoolProblem): string {
  return JSON.stringify([path, message]);
}
