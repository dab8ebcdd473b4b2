import { quoteValue } from "../types/messages";
import type { Param } from "./request";

/** Path on which the read API answers queries, unless the user gives another one. */
export const DEFAULT_PATH = "/api/v1/query_objects/{env}/{game}/{query}";

const PLACEHOLDER = /\{([^{}]*)\}/g;
const NAMES = ["env", "game", "query", "endpoint"];

/** Values for the placeholders of a path. */
export interface PathFacts {
  env?: string | undefined;
  game: string;
  query: string;
  endpoint: string;
  params: Record<string, Param>;
}

/** Why a text is not a path template, or nothing. */
export function templateProblem(template: string): string | undefined {
  const rest = template.replace(PLACEHOLDER, "");
  if (!/^\/[!-"$-z|~]*$/.test(rest))
    return `${quoteValue(template)} is not a path: start with "/", close every "{", and write spaces, "#" and letters beyond ASCII as %XX`;
  for (const [, name = ""] of template.matchAll(PLACEHOLDER)) {
    if (NAMES.includes(name) || /^params\../.test(name)) continue;
    return `{${name}} is not a placeholder of a path: use one of {env}, {game}, {query}, {endpoint}, {params.NAME}`;
  }
  return undefined;
}

/**
 * A path template with its placeholders filled in, each as one part of the path, and the names of the parameters that went into it.
 *
 * @returns a problem where a value is missing
 */
export function fillPath(
  template: string,
  facts: PathFacts,
): { path: string; used: Set<string> } | { problem: string } {
  const used = new Set<string>();
  let problem: string | undefined;
  const path = template.replace(PLACEHOLDER, (_, name: string) => {
    const value = lookUp(name, facts, used);
    if (value !== undefined) return encodeURIComponent(value);
    problem ??=
      name === "env"
        ? `${quoteValue(template)} needs an environment: give --env`
        : `${quoteValue(template)} needs {${name}}`;
    return "";
  });
  return problem === undefined ? { path, used } : { problem };
}

function lookUp(name: string, facts: PathFacts, used: Set<string>): string | undefined {
  if (name.startsWith("params.")) {
    const key = name.slice("params.".length);
    const value = Object.hasOwn(facts.params, key) ? facts.params[key] : undefined;
    // An empty part, or one that climbs, would make it another path.
    if (value === undefined || value === null || Array.isArray(value) || /^\.{0,2}$/.test(String(value)))
      return undefined;
    used.add(key);
    return String(value);
  }
  return facts[name as "env" | "game" | "query" | "endpoint"];
}
