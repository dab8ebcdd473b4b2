import type { StepInput } from "../../model/transaction";
import type { Context } from "../server";
import { withAgent } from "./agent-ref";
import { placeArtifact } from "./artifact";
import type { PoolInputs } from "./pool-inputs";
import { inTransaction } from "./transaction";

/**
 * Promotes a pool's release: the candidate starts beside what serves, traffic moves to it once it is healthy, services and
 * singletons follow, and the commit makes it the current release. The agent then drains and stops the old one.
 */
export async function promote(
  { agent, name: pool, artifact, release }: Pick<PoolInputs, "agent" | "name" | "artifact" | "release">,
  start: StepInput,
  context: Context,
  options?: { create: boolean },
): Promise<void> {
  await withAgent(agent, (client) =>
    inTransaction(
      client,
      `pool/${pool}`,
      context,
      async (run, signal) => {
        await placeArtifact(
          client,
          { ...(artifact === undefined ? {} : { artifact }), release },
          { ...context, signal },
        );
        await run(start);
        await run({ verb: "pool.switch", pool });
        await run({ verb: "pool.follow", pool });
      },
      options,
    ),
  );
}
