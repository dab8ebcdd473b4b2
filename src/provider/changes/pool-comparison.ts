import type { CompareAnswer, ComparedPool } from "../../agent/api/answers";
import { shareAt } from "../../model/pool/pool-share";
import type { PoolInputs } from "../resources/pool-inputs";
import type { StartStep } from "../rollout/in-place";
import type { Path } from "../server";
import { type Comparison, committedOn } from "./committed";

/** Compares the committed state of a pool with its declaration. */
export function poolComparison({ agent, canary }: PoolInputs, step: StartStep): Comparison {
  return {
    compare: async () => {
      const answer = await committedOn<ComparedPool>(agent, step);
      return answer && withCandidate(answer, canary);
    },
    input: (path) => inputOf(path, canary?.processes !== undefined),
  };
}

/** If only one side has a candidate, the live state shows that. */
function withCandidate(
  { committed, wanted }: CompareAnswer<ComparedPool>,
  declared: PoolInputs["canary"],
): CompareAnswer {
  const { canary: before, ...others } = committed ?? {};
  const { canary: after, ...rest } = wanted;
  if (before === undefined || after === undefined || declared === undefined)
    return { committed: committed && others, wanted: rest };
  return { committed, wanted: { ...rest, canary: { ...after, ...shareAt(declared, before.split ?? 0) } } };
}

/** @param own whether the candidate declares processes of its own */
function inputOf(path: Path, own: boolean): Path {
  const declared = path.map((key) => (key === "secretEnv" ? "env" : key));
  return declared[0] === "canary" && declared[1] === "processes" && !own ? declared.slice(1) : declared;
}
