import { isDeepStrictEqual } from "node:util";
import type { Desired } from "../state/desired";
import type { Committed } from "../state/state";

/**
 * Since when each route has been as it is, after a commit: what did not change keeps its time. A new release of the pool that is
 * its candidate or shadow is another candidate, and so is a backend none of whose servers was there before: what the former
 * one has shown says nothing of it.
 */
export function unchangedSince(before: Pick<Committed, keyof Desired | "routesSince">, after: Desired, now: string) {
  return Object.fromEntries(
    Object.entries(after.routes).map(([name, spec]): [string, string] => {
      const backends = [spec.candidate, spec.mirror?.to].filter((backend) => backend !== undefined);
      const same =
        isDeepStrictEqual(before.routes[name], spec) &&
        backends.every(
          (backend) => isSamePool(before, after, backend) && isSameBackend(before, after, spec.edges, backend),
        );
      return [name, (same ? before.routesSince[name] : undefined) ?? now];
    }),
  );
}

function isSamePool(before: Desired, after: Desired, pool: string): boolean {
  return before.pools[pool]?.current?.number === after.pools[pool]?.current?.number;
}

function isSameBackend(before: Desired, after: Desired, edges: readonly string[], backend: string): boolean {
  const addresses = (desired: Desired, edge: string) =>
    Object.values(desired.backends[`${edge}/${backend}`]?.servers ?? {}).map(
      ({ address, port }) => `${address} ${port}`,
    );
  return edges.every((edge) => {
    const [old, fresh] = [addresses(before, edge), new Set(addresses(after, edge))];
    return fresh.size === 0 || old.some((address) => fresh.has(address));
  });
}
