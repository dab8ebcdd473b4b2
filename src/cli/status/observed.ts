import type { NotObserved } from "../../agent/api/answers";

/** Parts that were observed, or of which at least something is known, by name. */
export function observed<T extends { name: string }>(all: Record<string, T | NotObserved<T>>): T[] {
  return Object.values(all)
    .flatMap((each) => ("error" in each ? (each.known ?? []) : each))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
