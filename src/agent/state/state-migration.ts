import { z } from "zod";

const pool = z.looseObject({
  candidate: z.unknown().optional(),
  canary: z.unknown().optional(),
  outgoing: z.unknown().optional(),
  serving: z.string(),
  singletonsOf: z.string(),
});
const state = z.looseObject({ pools: z.record(z.string(), pool) });

/**
 * Gives a state of version 1 today's names: it called the release that is being promoted `candidate`, the one that takes a
 * share of the requests `canary`, and a former one of those `outgoing`.
 *
 * @returns the state as it is where it does not look like one; the schema then says why
 */
export function fromVersion1(found: unknown): unknown {
  const parsed = state.safeParse(found);
  if (!parsed.success) return found;
  const pools = Object.entries(parsed.data.pools).map(([name, { candidate, canary, outgoing, ...rest }]) => [
    name,
    {
      ...rest,
      ...(candidate === undefined ? {} : { next: candidate }),
      ...(canary === undefined ? {} : { candidate: canary }),
      ...(outgoing === undefined ? {} : { retiring: outgoing }),
      serving: renamed(rest.serving),
      singletonsOf: renamed(rest.singletonsOf),
    },
  ]);
  return { ...parsed.data, pools: Object.fromEntries(pools) };
}

function renamed(generation: string): string {
  return generation === "candidate" ? "next" : generation;
}
