import { z } from "zod";
import { quoteValue } from "../src/model/types/messages";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy, type Seen } from "./support/policy";

type Pool = Unsure<Judged["Pool"]>;
type Process = NonNullable<NonNullable<Pool["processes"]>[string]>;

export const singleInstances = policy({
  name: "single-instances",
  description: "What may run only once is declared only once.",
  level: "mandatory",
  config: z.strictObject({
    perHost: z.array(z.string().min(1)).default([]).describe("Names of singletons of which each host may run one"),
  }),
  judge: {
    Pool: (pool, { config, others }) =>
      Object.entries(pool.processes ?? {}).flatMap(([id, process]) =>
        process === undefined ? [] : twins(id, process, pool, others, config.perHost),
      ),
  },
});

function twins(
  id: string,
  process: Process,
  pool: Pool,
  others: readonly Seen[],
  perHost: readonly string[],
): Finding[] {
  const { policy: kind } = process;
  if (kind !== "singleton" && kind !== "service") return [];
  const twin = pools(others).find((other) => {
    const its = other.processes?.[id];
    if (its?.policy !== kind || !isSameProgram(its, process)) return false;
    // Services are one per host; a singleton is one.
    return isSameHost(other, pool) || (kind === "singleton" && !perHost.includes(id));
  });
  if (twin === undefined) return [];
  const where = isSameHost(twin, pool) ? `pool ${twin.name}` : `pool ${twin.name} on another host`;
  const remedy =
    kind === "service"
      ? "declare it in one of them"
      : `declare it in one of them, or list ${quoteValue(id)} in the policy's perHost where one for each host is right`;
  return [
    { at: `processes.${id}`, message: `the same ${kind} is in ${where}, so that two of it would run: ${remedy}` },
  ];
}

function pools(others: readonly Seen[]): Pool[] {
  return others.flatMap(({ kind, inputs }) => (kind === "Pool" ? [inputs as Pool] : []));
}

/** Not known is not the same: the update knows. */
function isSameProgram(a: Process, b: Process): boolean {
  return a.command !== undefined && JSON.stringify(a.command) === JSON.stringify(b.command);
}

function isSameHost(a: Pool, b: Pool): boolean {
  return a.agent?.directory !== undefined && a.agent.directory === b.agent?.directory;
}
