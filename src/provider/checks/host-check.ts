import type { StepInput } from "../../model/protocol/transaction";
import { type AgentRef, liveFailures } from "../resources/agent-ref";
import { type Checked, type Context, UNKNOWN } from "../server";
import { asRecorded, type ParsedInputs, withLive } from "./inputs";

/**
 * The result of a Check whose inputs are parsed: where they are all known, good and new, the agent tells what speaks against
 * them on its host as it is now.
 */
export async function checkedOnHost<V extends { agent: AgentRef }>(
  { urn }: Context,
  olds: object | undefined,
  { failures, values, known }: ParsedInputs<V>,
  toStep: (inputs: V) => StepInput,
  expected: (inputs: V) => object,
): Promise<Checked<object>> {
  const valid = failures.length === 0;
  const creator = olds === undefined ? urn : undefined;
  const ask = known && valid && !asRecorded(olds, values);
  const live = ask ? await liveFailures(values.agent, toStep(values), creator) : [];
  return {
    failures: [...failures, ...live],
    inputs: withLive(values, olds, valid ? expected(values) : UNKNOWN, urn),
  };
}
