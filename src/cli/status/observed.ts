import type { NotObserved } from "../../agent/api/answers";

/** Those that could be looked at, or of which something is known all the same, by name. */
export function observed<T extends { name: string }>(all: Record<string, T | NotObserved<T>>): T[] {
  return Object.values(all)
    .flatMap((each) => ("error" in each ? (each.known ?? []) : each))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
