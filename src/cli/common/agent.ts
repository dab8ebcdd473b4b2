import { AgentClient } from "../../agent/client/client";
import { UnreachableError } from "../../agent/client/connection";
import { NotReached, type Terminal } from "./exit";
import type { AgentGiven } from "./options";
import { chooseSocket, whyNotAnswering } from "./sockets";
import { lastLine, openTunnel } from "./ssh";

/** An agent that a verb talks to. */
export interface Reached {
  client: AgentClient;
  /** Name for people: its socket, with the host if that is another one. */
  where: string;
}

/**
 * Does work with the agent that the options name, here or on another host, and closes the way to it afterwards.
 *
 * @throws NotReached where no agent answers, with the reason and the remedy; UsageError where the options can't be used
 */
export async function withAgent<T>(
  { socket, host }: AgentGiven,
  { env }: Pick<Terminal, "env">,
  work: (reached: Reached) => Promise<T>,
): Promise<T> {
  if (host !== undefined) return overSsh(host, socket, work);
  const path = await chooseSocket(socket, { env, cwd: process.cwd() });
  return using(path, path, work, () => whyNotAnswering(path));
}

async function overSsh<T>(
  host: string,
  socket: string | undefined,
  work: (reached: Reached) => Promise<T>,
): Promise<T> {
  const tunnel = await openTunnel(host, socket);
  const where = socket === undefined ? host : `${host}:${socket}`;
  try {
    return await using(tunnel.socket, where, work, async () => {
      const printed = lastLine(tunnel.printed());
      return `no agent answers on ${where}${printed === "" ? "" : ` (${printed})`}: check that it runs there, and that this user may use its socket`;
    });
  } finally {
    await tunnel.close();
  }
}

async function using<T>(
  socket: string,
  where: string,
  work: (reached: Reached) => Promise<T>,
  why: () => Promise<string | undefined>,
): Promise<T> {
  const client = new AgentClient(socket);
  try {
    return await work({ client, where });
  } catch (error) {
    if (error instanceof UnreachableError)
      throw new NotReached((error.code === "unreachable" ? await why() : undefined) ?? error.message);
    throw error;
  } finally {
    client.close();
  }
}
