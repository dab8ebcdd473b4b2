import type { AgentClient } from "../../src/agent/client/client";
import type { StepInput, Target } from "../../src/model/protocol/transaction";

/** Changes one target of an agent: its steps, then the commit. */
export async function change(client: AgentClient, target: Target, ...steps: StepInput[]): Promise<void> {
  const owner = { who: "bench", why: `bench of ${target}`, pid: process.pid };
  const { id } = await client.begin({ target, owner, leaseMs: 60_000 });
  for (const step of steps) await client.step(id, step, () => undefined);
  await client.commit(id);
}
