import { UnreachableError } from "../../agent/client/connection";
import { type StepInput, targetOf, titleOf } from "../../model/protocol/transaction";
import { declaredKeys } from "../checks/inputs";
import { logTakenOver } from "../checks/ownership";
import { type AgentRef, withAgent } from "../resources/agent-ref";
import { type Context, getAt, renderPath, unknownPaths } from "../server";

const HOW = {
  nothing: "HAProxy already has it so",
  runtime: "applied by the runtime API, without a reload",
  reload: "applied by a hitless reload",
  start: "starts HAProxy",
  restart: "restarts the processes in place",
} as const;

/** Most properties that are named beside each other. */
const MAX_NAMED = 5;

/** The properties of inputs that are not known until the update, for people. */
export function unknownNames(inputs: object): string {
  const paths = declaredKeys(inputs).flatMap((key) => unknownPaths(getAt(inputs, [key]), [key]).map(renderPath));
  const more = paths.length - MAX_NAMED;
  return [...paths.slice(0, MAX_NAMED), ...(more > 0 ? [`${more} more`] : [])].join(", ");
}

/** Says in a preview that it can't tell how an update goes, and why. */
export function logUnknown(inputs: object, { log }: Pick<Context, "log">): void {
  log.info(`how this reaches HAProxy is known only in the update, which first learns ${unknownNames(inputs)}`);
}

/** Says in a preview how a change will reach HAProxy. Silent where the agent does not run yet. */
export async function logPlan<I extends { agent: AgentRef }>(
  inputs: I,
  toStep: (inputs: I) => StepInput,
  context: Context,
  { create = false }: { create?: boolean } = {},
): Promise<void> {
  const { log } = context;
  if (unknownNames(inputs) !== "") return logUnknown(inputs, context);
  try {
    const step = toStep(inputs);
    const answer = await withAgent(inputs.agent, (client) => client.plan(step));
    const { how, reasons, needs = [], takeover = [] } = answer;
    logTakenOver(answer, { what: titleOf(targetOf(step)), create }, context);
    log.info([HOW[how], ...[...reasons, ...takeover].map((reason) => `  ${reason}`)].join("\n"));
    for (const need of needs) log.warn(`${need}; the update is refused unless it creates that first`);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
  }
}
