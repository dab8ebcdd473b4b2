import type { SecretNames } from "../../model/pool/pool-problems";
import {
  type Context,
  containsUnknown,
  type Failure,
  getAt,
  isUnknown,
  type Properties,
  parsePath,
  UNKNOWN,
  type Unknown,
} from "../server";
import type { DeclaredPool } from "./pool-inputs";

/** Paths of processes in a pool's inputs: its own, and those that its candidate has instead. */
const PLACES = { pool: ["processes"], candidate: ["canary", "processes"] } as const;

export interface PoolSecrets {
  pool: Record<string, string[]>;
  candidate: Record<string, string[]>;
}

/** The environment variables by process whose values are secret; the candidate's are the pool's where its processes are. */
export function secretNames(inputs: object, { secrets }: Pick<Context, "secrets">): PoolSecrets {
  const pool = namesAt(PLACES.pool, inputs, secrets);
  const own = getAt(inputs, PLACES.candidate);
  return { pool, candidate: own === undefined ? pool : namesAt(PLACES.candidate, inputs, secrets) };
}

function namesAt(place: readonly string[], inputs: object, paths: readonly string[]): Record<string, string[]> {
  const names: Record<string, string[]> = {};
  for (const path of paths) {
    const below = inEnvironment(path, place);
    if (below === undefined) continue;
    const { process, variable } = below;
    const found = variable === undefined ? Object.keys(getAt(inputs, [...place, process, "env"]) ?? {}) : [variable];
    names[process] = [...(names[process] ?? []), ...found];
  }
  return names;
}

/** The process, and the variable where it is one alone, that a path into an environment is about. */
function inEnvironment(path: string, place: readonly string[]) {
  const parts = parsePath(path).map(String);
  if (!place.every((part, index) => parts[index] === part)) return undefined;
  const [process, env, variable] = parts.slice(place.length);
  return process === undefined || env !== "env" ? undefined : { process, variable };
}

/** The names as inputs of their own, where there are any; not known where a value is not that may be a secret. */
export function secretInputs({ processes, canary }: DeclaredPool, { pool, candidate }: PoolSecrets): Properties {
  const own = isUnknown(canary) ? canary : canary?.processes;
  return {
    ...asInput("secretNames", processes, pool),
    ...(own === undefined ? {} : asInput("canarySecretNames", own, candidate)),
  };
}

function asInput(property: string, processes: DeclaredPool["processes"] | Unknown, names: SecretNames): Properties {
  // A preview is not told of an unknown value that it is secret.
  if (
    isUnknown(processes) ||
    Object.values(processes).some((process) => isUnknown(process) || containsUnknown(process.env))
  )
    return { [property]: UNKNOWN };
  return Object.keys(names).length === 0 ? {} : { [property]: names };
}

/** Secrets may be in environments only: everything else ends up in process listings, configs or logs. */
export function secretFailures(paths: readonly string[]): Failure[] {
  return paths
    .filter((path) => Object.values(PLACES).every((place) => inEnvironment(path, place) === undefined))
    .map((path) => ({
      property: path,
      reason: "is secret, but would be seen in process listings, configs or logs: pass it in the process's env",
    }));
}
