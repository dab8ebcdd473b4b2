import type { ComparedPool } from "../../agent/api/answers";
import { type PoolChange, poolChange } from "../../model/policy/change";
import type { PoolCanary } from "../../model/pool/pool-share";
import { formatSplit } from "../../model/route/split";
import { whenKnown } from "../checks/known";
import type { DeclaredPool, PoolInputs } from "../resources/pool-inputs";
import type { StartStep } from "../rollout/in-place";
import { containsUnknown, type Unknown } from "../server";
import { committedOn } from "./committed";

/**
 * The change of a pool for policies, compared with what its agent has committed, since a Check is not told what is
 * recorded where a resource is replaced or gets another URN; of what is recorded, where the agent can't be asked.
 */
export async function changeOf(
  before: PoolInputs | undefined,
  after: DeclaredPool,
  toStep: () => StartStep,
): Promise<PoolChange | Unknown> {
  const compared = containsUnknown(after) ? undefined : await comparedPools(after, toStep());
  if (compared === undefined) return whenKnown({ before, after }, ({ before, after }) => poolChange(before, after));
  const recorded = before?.change?.order ?? [];
  // The whole order of before agents kept one is recorded alone.
  const order = recorded.includes(compared.before.release.id) ? recorded : compared.order;
  return poolChange({ ...compared.before, change: { order } }, compared.after);
}

/**
 * The pool that an agent has committed, in the place of the recorded one, and the declared one in the same shape; undefined
 * where the agent has none, or can't be asked.
 */
export async function comparedPools(after: DeclaredPool, step: StartStep) {
  const answer = await committedOn<ComparedPool>(after.agent, step);
  if (answer?.committed === undefined) return undefined;
  const { committed, wanted, order = [] } = answer;
  const canary = after.canary && { ...after.canary, processes: wanted.canary?.processes ?? after.canary.processes };
  return {
    before: { ...after, ...committed, canary: committed.canary && candidateAt(committed.canary) },
    after: { ...after, ...wanted, canary },
    order,
  };
}

/** A candidate as if it was declared with the share that it has. */
function candidateAt({ split = 0, ...canary }: NonNullable<ComparedPool["canary"]>): PoolCanary {
  const stage = { name: "committed", split: formatSplit(split), window: "0 seconds" as const, gates: [] };
  return { sticky: { by: "none" }, onBreach: "back", ...canary, stages: [stage], stage: stage.name };
}
