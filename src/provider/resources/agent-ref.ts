import { z } from "zod";
import { AgentClient } from "../../agent/client/client";
import { UnreachableError } from "../../agent/client/connection";
import { agentOptions } from "../../model/protocol/agent";
import type { StepInput, Target } from "../../model/protocol/transaction";
import { messageOf } from "../../model/types/errors";
import { absolutePath } from "../../model/types/names";
import type { Context, Failure } from "../server";

/** The agent that a resource lives on. The folder names it; the socket is how it is reached. */
export const agentRef = z.strictObject({ directory: absolutePath, socket: agentOptions.shape.socket });
export type AgentRef = z.output<typeof agentRef>;

/** Target of a resource on an agent, see `Resource.targets`. */
export function targetOn({ directory }: Pick<AgentRef, "directory">, target: Target): string {
  return `${directory} ${target}`;
}

/** Runs work with a client of an agent, and closes it. */
export async function withAgent<T>({ socket }: AgentRef, work: (client: AgentClient) => Promise<T>): Promise<T> {
  const client = new AgentClient(socket);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/**
 * Asks an agent where it can be reached, and else says so and goes on with what is known: a preview must work without
 * access to the hosts. Updates fail at once, since they open a transaction first.
 */
export async function askAgent<T>(
  agent: AgentRef | undefined,
  { log, type }: Context,
  otherwise: T,
  work: (client: AgentClient) => Promise<T>,
): Promise<T> {
  if (agent === undefined)
    throw new Error(
      `a ${type} can't be imported, since its id does not name its agent: declare it in the program as it was; an update of the same stack takes it over as it runs`,
    );
  try {
    return await withAgent(agent, work);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    log.warn(`${error.message}. What is shown is what was recorded at the last update.`);
    return otherwise;
  }
}

/**
 * Problems that an agent finds with a step, as failures of the resource's properties; none where it can't be reached yet.
 *
 * @param creator URN of the resource, where it is to be created
 */
export async function liveFailures(agent: AgentRef, step: StepInput, creator: string | undefined): Promise<Failure[]> {
  try {
    const problems = await withAgent(agent, (client) => client.check(step, creator));
    return problems.map(({ path, message }) => ({ property: path, reason: message }));
  } catch (error) {
    // The same update may start this agent; if not, the update itself fails before it changes anything.
    if (error instanceof UnreachableError) return [];
    return [{ property: "agent", reason: messageOf(error) }];
  }
}
