import { readdirSync } from "node:fs";
import { join } from "node:path";
import { allStats, type Identity, MARKER_VARIABLE, signalProcess } from "../../src/agent/processes/identity";
import { codeOf } from "../../src/model/types/errors";
import { read } from "../../tools/processes.mjs";
import { until } from "../support/until";
import { MARKER, type StoryFolders } from "./project";

/** Programs of a host that do not carry its marker: the guard, the agent, and what keeps output short without an agent. */
const UNMARKED = ["bin/guard.sh", "bin/agent.cjs", "processes"];

/**
 * Every process of a story, of this demo or of an earlier one: `pulumi` and its plugins, the load, the story's systems (by
 * the marker in the environment that the demo gave them), agents and their guards (by the state folder in their command
 * line: an agent is not given the environment of the update that starts it), and all that agents started (by their marker).
 */
export async function processesLeft({ folder, hosts }: Pick<StoryFolders, "folder" | "hosts">): Promise<Identity[]> {
  const all = (await allStats()).flatMap((identity) => {
    if (identity.pid === process.pid) return [];
    const [environment, command] = ["environ", "cmdline"].map((file) =>
      read(`/proc/${identity.pid}/${file}`).split("\0"),
    );
    return [{ identity, environment: environment ?? [], command: command ?? [] }];
  });
  const inHosts = (argument: string) => argument.startsWith(`${hosts}/`);
  const agentOf = (environment: string[]) => environment.find((line) => line.startsWith(`${MARKER_VARIABLE}=`));
  // An edge's processes have its folder in their command lines, so agents are found even if their state is gone.
  const agents = new Set([
    ...agentsIn(hosts),
    ...all.flatMap(({ environment, command }) => (command.some(inHosts) ? (agentOf(environment) ?? []) : [])),
  ]);
  const isOfHost = (command: string[]) =>
    command.some((argument) => inHosts(argument) && UNMARKED.some((program) => argument.endsWith(`/${program}`)));
  return all
    .filter(
      ({ environment, command }) =>
        environment.includes(`${MARKER}=${folder}`) || agents.has(agentOf(environment) ?? "") || isOfHost(command),
    )
    .map(({ identity }) => identity);
}

/** Ends all of them at once, and gives their count. */
export async function endLeftovers(place: Pick<StoryFolders, "folder" | "hosts">): Promise<number> {
  const ended = new Set<string>();
  await until("the demo's processes to be gone", async () => {
    const left = await processesLeft(place);
    for (const identity of left) {
      ended.add(`${identity.pid} ${identity.startTime}`);
      signalProcess(identity, "SIGKILL");
    }
    return left.length === 0;
  });
  return ended.size;
}

/** `NAME=VALUE` of the agents that have a state in these folders. */
function agentsIn(hosts: string): string[] {
  try {
    return readdirSync(hosts).flatMap((host) => {
      const state = read(join(hosts, host, "state.json"));
      return state === "" ? [] : [`${MARKER_VARIABLE}=${JSON.parse(state).state.agent}`];
    });
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}
