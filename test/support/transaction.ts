import type { AgentClient } from "../../src/agent/client/client";
import type { StepInput, Target } from "../../src/model/protocol/transaction";

export const OWNER = { who: "tester@here", why: "a test", pid: process.pid };

/** Runs steps in a transaction of their own and commits it. */
export async function change(client: AgentClient, target: Target, steps: StepInput[]): Promise<void> {
  const { id } = await client.begin({ target, owner: OWNER, leaseMs: 60_000 });
  try {
    for (const step of steps) await client.step(id, step, () => undefined);
    await client.commit(id);
  } catch (error) {
    await client.abort(id, String(error));
    throw error;
  }
}
