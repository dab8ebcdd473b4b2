import type { ComparedPool } from "../../agent/api/answers";
import { type PoolChange, poolChange } from "../../model/policy/change";
import type { PoolCanary } from "../../model/pool/pool-share";
import { formatSplit } from "../../model/route/split";
import { whenKnown } from "../checks/known";
import type { PoolInputs } from "../resources/pool-inputs";
import type { StartStep } from "../rollout/in-place";
import { containsUnknown, type Properties, type Unknown } from "../server";
import { committedOn } from "./committed";

/**
 * The change of a pool for policies, compared with what its agent has committed, since a Check is not told what is
 * recorded where a resource is replaced or gets another URN; of what is recorded, where the agent can't be asked.
 */
export async function changeOf(
  olds: Properties | undefined,
  after: PoolInputs,
  toStep: () => StartStep,
): Promise<PoolChange | Unknown> {
  const before = olds as unknown as PoolInputs | undefined;
  const answer = containsUnknown(after) ? undefined : await committedOn<ComparedPool>(after.agent, toStep());
  if (answer?.committed === undefined)
    return whenKnown({ before, after }, ({ before, after }) => poolChange(before, after));
  const { committed, wanted, order = [] } = answer;
  const recorded = before?.change?.order ?? [];
  return poolChange(
    {
      ...committed,
      canary: committed.canary && candidateAt(committed.canary),
      // The whole order of before agents kept one is recorded alone.
      change: { order: recorded.includes(committed.release.id) ? recorded : order },
    },
    {
      ...wanted,
      canary: after.canary && { ...after.canary, processes: wanted.canary?.processes ?? after.canary.processes },
    },
  );
}

/** A candidate as if it was declared with the share that it has. */
function candidateAt({ split = 0, ...canary }: NonNullable<ComparedPool["canary"]>): PoolCanary {
  const stage = { name: "committed", split: formatSplit(split), window: "0 seconds" as const, gates: [] };
  return { sticky: { by: "none" }, onBreach: "back", ...canary, stages: [stage], stage: stage.name };
}
