import { type Path, renderPath } from "./values/path";

/** One thing wrong with the inputs; `property` is a path such as `processes.web.command[2]`. */
export interface Failure {
  property: string;
  reason: string;
}

/** The part of a zod issue that matters here; zod itself stays out of the server. */
interface Issue {
  code?: string | undefined;
  path: readonly PropertyKey[];
  message: string;
  keys?: readonly string[] | undefined;
}

/**
 * Every issue of a zod error as a failure, in the error's order, each property and reason once.
 * @param prefix path of what was parsed, within the resource's inputs
 */
export function failuresOf(error: { issues: readonly Issue[] }, prefix: Path = []): Failure[] {
  const failures = new Map<string, Failure>();
  const add = (path: Path, reason: string): void => {
    const property = renderPath([...prefix, ...path]);
    failures.set(`${property}\n${reason}`, { property, reason });
  };
  for (const issue of error.issues) {
    const path = issue.path.map((key) => (typeof key === "number" ? key : String(key)));
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys ?? []) add([...path, key], "is not a property that exists here");
    } else add(path, issue.message);
  }
  return [...failures.values()];
}
