import { UnreachableError } from "../../agent/client/connection";
import { type StepInput, targetOf, titleOf } from "../../model/transaction";
import { type Context, containsUnknown, type Properties } from "../server";
import { type AgentRef, withAgent } from "./agent-ref";
import { sayTaken } from "./ownership";

const HOW = {
  nothing: "HAProxy already has it so",
  runtime: "applied by the runtime API, without a reload",
  reload: "applied by a hitless reload",
  start: "starts HAProxy",
  restart: "restarts the processes in place",
} as const;

/** Says in a preview how a change will reach HAProxy. Silent where the agent does not run yet. */
export async function sayPlan(
  inputs: Properties,
  toStep: (inputs: Properties) => StepInput,
  context: Context,
  { create = false }: { create?: boolean } = {},
): Promise<void> {
  const { log } = context;
  if (containsUnknown(inputs)) return;
  try {
    const step = toStep(inputs);
    const answer = await withAgent(inputs.agent as AgentRef, (client) => client.plan(step));
    const { how, reasons, needs = [], takeover = [] } = answer;
    sayTaken(answer, { what: titleOf(targetOf(step)), create }, context);
    log.info([HOW[how], ...[...reasons, ...takeover].map((reason) => `  ${reason}`)].join("\n"));
    for (const need of needs) log.warn(`${need}; the update is refused where it has not made that by then`);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
  }
}
