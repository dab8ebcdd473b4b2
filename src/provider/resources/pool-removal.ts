import { AgentClient } from "../../agent/client/client";
import { UnreachableError } from "../../agent/client/connection";
import type { Claim } from "../../model/protocol/ownership";
import { inTransactions, type OpenPart, type Part } from "../rollout/transaction";
import type { Context } from "../server";
import type { PoolInputs } from "./pool-inputs";

interface EdgePart extends Part {
  edge: string;
}

/**
 * Removes a pool from its host, and waits until its processes have ended. The edges of other agents that lead to it send it no
 * requests meanwhile: its connections end, and none is opened to what stops.
 */
export async function removePool(
  client: AgentClient,
  { name, serves, drainDeadline: deadline }: Pick<PoolInputs, "name" | "serves" | "drainDeadline">,
  context: Context,
  claim?: Claim,
): Promise<void> {
  const ended = () => {
    context.log.progress("draining, then stopping its processes");
    return client.settle(name, context.signal);
  };
  // Already removed: what an attempt before this one has begun to end is waited for.
  if ((await client.pool(name)) === undefined) return ended();
  const leading = await leadingEdges(serves, context);
  const { backend = "", server = "" } = serves ?? {};
  const own: Part = { client, target: `pool/${name}`, claim };
  try {
    await inTransactions<Part>(
      [own, ...leading],
      context,
      async ([pool, ...edges]) => {
        const parts = edges as OpenPart<EdgePart>[];
        await Promise.all(
          parts.map(({ run, edge }) => run({ verb: "server.drain", edge, backend, server, deadline, last: true })),
        );
        await (pool as OpenPart).run({ verb: "pool.remove", pool: name });
      },
      { committed: ended },
    );
  } finally {
    for (const part of leading) part.client.close();
  }
  await ended();
}

/** The edges that send the pool's server requests now. One that can't be asked doesn't keep a pool from being removed. */
async function leadingEdges(serves: PoolInputs["serves"], { log }: Context): Promise<EdgePart[]> {
  if (serves === undefined) return [];
  const { backend, server } = serves;
  const parts = serves.edges.map(async ({ agent, edge }): Promise<EdgePart[]> => {
    const client = new AgentClient(agent.socket);
    try {
      const observed = await client.backend(edge, backend);
      if (observed?.live.servers[server]?.state === "ready")
        return [{ client, edge, target: `backend/${edge}/${backend}`, temporary: true }];
    } catch (error) {
      if (!(error instanceof UnreachableError)) {
        client.close();
        throw error;
      }
      log.warn(`${error.message}: it does not learn that server ${server} of its backend ${backend} is removed`);
    }
    client.close();
    return [];
  });
  return (await Promise.all(parts)).flat();
}
