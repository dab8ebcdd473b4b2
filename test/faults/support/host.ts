import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AgentClient } from "../../../src/agent/client/client";
import { findMarked, type Identity, isAlive, readStat, send } from "../../../src/agent/processes/identity";
import type { AgentEvent, Phase } from "../../../src/model/protocol/transaction";
import { agentPid } from "../../support/agent";
import { until } from "../../support/until";

/** An id that no boot of this host has. */
const EARLIER_BOOT = "00000000-0000-4000-8000-000000000000";
const QUIET_DEADLINE_MS = 30_000;

/** The agent of a state folder, and the guard that restarts it. */
export async function runningAgent(directory: string): Promise<{ agent: Identity; guard: Identity }> {
  const agent = readStat((await agentPid(directory)) ?? 0);
  const guard = readStat(agent?.parent ?? 0);
  if (agent === undefined || guard === undefined || !isAlive(agent)) throw new Error(`no agent runs in ${directory}`);
  return { agent, guard };
}

export function kill({ pid }: { pid: number }): void {
  send(pid, "SIGKILL");
}

/** By what the agent of a state folder finds its processes. */
export async function markerOf(directory: string): Promise<string> {
  const text = await readFile(join(directory, "state.json"), "utf8");
  return (JSON.parse(text) as { state: { agent: string } }).state.agent;
}

/** Ends everything at once, as a reboot does; what is on disk then looks as of an earlier boot. */
export async function powerCut(directory: string, others: readonly { pid: number }[] = []): Promise<void> {
  const marker = await markerOf(directory);
  const { agent, guard } = await runningAgent(directory);
  for (const process of [guard, agent, ...others]) kill(process);
  for (let left = await findMarked(marker); left.length > 0; left = await findMarked(marker)) left.forEach(kill);
  const folder = join(directory, "processes", ".status");
  for (const name of await readdir(folder)) {
    const text = await readFile(join(folder, name), "latin1");
    await writeFile(join(folder, name), text.replace(/^boot [0-9a-f-]{36}/, `boot ${EARLIER_BOOT}`));
  }
}

/** The first event from now on that fits. */
export async function nextEvent(
  client: AgentClient,
  fits: (event: AgentEvent) => boolean,
  signal: AbortSignal,
): Promise<AgentEvent> {
  const since = new Date().toISOString();
  for await (const event of client.events(signal)) if (event.at >= since && fits(event)) return event;
  throw new Error("the agent's events ended");
}

/** Events with which a promotion of a pool enters a phase. */
export function entering(phase: Phase, pool: string): (event: AgentEvent) => boolean {
  return ({ data }) => data.phase === phase && data.target === `pool/${pool}`;
}

/** Waits until an agent answers and nothing is being promoted or undone. */
export async function quiet(client: AgentClient): Promise<void> {
  const isQuiet = async () => (await client.status()).transactions.length === 0;
  await until("an agent without open transactions", isQuiet, { deadlineMs: QUIET_DEADLINE_MS });
}
