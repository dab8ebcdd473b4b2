import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { About } from "../../src/agent/api/answers";
import { AgentClient } from "../../src/agent/client/client";
import { type AgentProgram, installAgent, startAgent } from "../../src/agent/client/launch";
import { hostFacts } from "../../src/agent/haproxy/config/host-facts";
import { mirrorSocket } from "../../src/agent/mirror/mirror";
import { cgroupsOf } from "../../src/agent/processes/cgroups";
import { allStats, commandOf, findMarked, type Identity, readStat, send } from "../../src/agent/processes/identity";
import { type AgentOptions, agentOptions } from "../../src/model/protocol/agent";
import { codeOf } from "../../src/model/types/errors";
import { agentBundle } from "../../src/provider/server";
import { until } from "./until";

/** Takes work that has to be done at the end: a test's context, or anything else that has an end. */
export interface Cleanup {
  after(work: () => unknown): void;
}

/** An agent of its own for one test, in a temporary folder, under its guard, as a program starts it. */
export interface TestAgent {
  directory: string;
  socket: string;
  client: AgentClient;
  about: About;
  /** Process id of its guard. */
  guard: number;
  /** Every live process that the agent started, HAProxy included: identified by the marker in its environment. */
  processes(): Promise<readonly { pid: number; id: string }[]>;
  /** Their pids in order, once HAProxy's workers from before a reload have ended, as they do by themselves. */
  settledPids(): Promise<number[]>;
}

/** Starts an agent; it, its guard and all that it started are ended by pid after the test. */
export async function startTestAgent(
  t: Cleanup,
  options: { directory?: string; agent?: Partial<AgentOptions>; program?: AgentProgram; node?: string } = {},
): Promise<TestAgent> {
  const directory = options.directory ?? (await temporaryFolder(t));
  const parsed = agentOptions.parse({ socket: join(directory, "a.sock"), ...options.agent });
  await installAgent(directory, parsed, options.program ?? agentBundle());
  t.after(() => endEverything(directory));
  const about = await startAgent(directory, parsed.socket, AbortSignal.timeout(60_000), options.node);
  const client = new AgentClient(parsed.socket);
  t.after(() => client.close());
  const guard = readStat(about.pid)?.parent ?? 0;
  const processes = async () => findMarked(await markerOf(directory));
  const isSettled = async () =>
    Object.values((await client.status()).edges).every(
      (edge) => "observed" in edge && edge.observed.oldWorkers.length === 0,
    );
  return {
    directory,
    socket: parsed.socket,
    client,
    about,
    guard,
    processes,
    settledPids: async () => {
      await until("HAProxy's old workers to end", isSettled);
      return (await processes()).map(({ pid }) => pid).toSorted((a, b) => a - b);
    },
  };
}

/**
 * A folder with a short path (Unix sockets have at most 107 bytes), removed after the test. An agent in it is ended before:
 * such work is done in the order in which it was asked for, and by what the folder holds its processes are found.
 */
export async function temporaryFolder(t: Cleanup): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sl-"));
  t.after(async () => {
    await endEverything(folder);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return folder;
}

/** Ends an agent's guard, the agent and everything that it started, by pid, and waits until they are gone. */
export async function endEverything(directory: string): Promise<void> {
  const marker = await markerOf(directory);
  const group = (await hostFacts()).account?.gid;
  await until("the agent and everything that it started to be gone", async () => {
    // The guard first, or it starts another agent.
    const left = [...(await daemonsOf(directory)), ...(marker === "" ? [] : await findMarked(marker))];
    for (const { pid } of left) send(pid, "SIGKILL");
    return left.length === 0;
  });
  if (marker === "") return;
  await removeCgroups(marker);
  if (group !== undefined) await rm(dirname(mirrorSocket(directory, group)), { recursive: true, force: true });
}

/** Ends what hides from its marker in the cgroups of an agent, and removes them. */
async function removeCgroups(marker: string): Promise<void> {
  const folder = cgroupsOf(marker);
  if (folder === undefined || !existsSync(folder)) return;
  // Since Linux 5.14.
  if (existsSync(join(folder, "cgroup.kill"))) await writeFile(join(folder, "cgroup.kill"), "1");
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await until(`cgroup ${entry.name} to be empty`, () => isRemoved(join(folder, entry.name)));
  await rmdir(folder);
}

async function isRemoved(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    if (codeOf(error) === "EBUSY") return false;
    throw error;
  }
}

/** A state folder's guard, agent and output truncator: what runs without a marker, known by its command, also while it starts or ends. */
async function daemonsOf(directory: string): Promise<Identity[]> {
  const commands = [
    `/bin/sh ${join(directory, "bin", "guard.sh")} `,
    join(directory, "bin", "agent.cjs"),
    " sluice-truncator ",
  ];
  const claimed = await agentPid(directory);
  const found = [];
  for (const identity of await allStats()) {
    const command = await commandOf(identity.pid);
    const named = command.includes(`${directory}/`) && commands.some((part) => command.includes(part));
    if (named || identity.pid === claimed) found.push(identity);
  }
  return found;
}

/** Process id of the agent that has claimed a state folder; undefined if none has. */
export async function agentPid(directory: string): Promise<number | undefined> {
  try {
    const { pid, startTime } = JSON.parse(await readFile(join(directory, "agent.pid"), "utf8")) as {
      pid: number;
      startTime: string;
    };
    return readStat(pid)?.startTime === startTime ? pid : undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function markerOf(directory: string): Promise<string> {
  try {
    const { state } = JSON.parse(await readFile(join(directory, "state.json"), "utf8")) as { state: { agent: string } };
    return state.agent;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw error;
  }
}
