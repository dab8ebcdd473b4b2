import type { StepInput } from "../../model/transaction";
import type { Context } from "../server";
import { type AgentRef, withAgent } from "./agent-ref";
import { inTransaction } from "./transaction";

/**
 * Promotes a pool's release: the candidate starts beside what serves, traffic moves to it once it is healthy, services and
 * singletons follow, and the commit makes it the current release. The agent then drains and stops the old one.
 */
export async function promote(
  { agent, name: pool }: { agent: AgentRef; name: string },
  start: StepInput,
  context: Context,
  options?: { create: boolean },
): Promise<void> {
  await withAgent(agent, (client) =>
    inTransaction(
      client,
      `pool/${pool}`,
      context,
      async (run) => {
        await run(start);
        await run({ verb: "pool.switch", pool });
        await run({ verb: "pool.follow", pool });
      },
      options,
    ),
  );
}
