import type { Command } from "commander";
import { type Reached, withAgent } from "./agent";
import { type Terminal, UsageError } from "./exit";

/** Options of a verb that looks at several agents at once. */
export interface AgentsGiven {
  socket?: string[];
  host?: string[];
  json?: boolean;
}

/** Adds what a verb takes that talks to one agent, or to several. */
export function withAgentsOptions(command: Command): Command {
  const collect = (value: string, before: string[] = []) => [...before, value];
  return command
    .option(
      "--socket <path>",
      "the agent's Unix socket (default: $SLUICE_SOCKET, else the only one that it finds); repeat for several agents",
      collect,
    )
    .option(
      "--host <[user@]host>",
      "use the agent of another host, through the system's ssh and your ssh config; repeat for several hosts",
      collect,
    )
    .option("--json", "print JSON (schema: docs/cli.md)");
}

/** Does work with all agents that the options name, and closes the ways to them afterwards. */
export async function withAgents<T>(
  { socket = [], host = [] }: AgentsGiven,
  terminal: Pick<Terminal, "env">,
  work: (reached: [Reached, ...Reached[]]) => Promise<T>,
): Promise<T> {
  if (host.length > 0 && socket.length > 1)
    throw new UsageError(["--socket is the same on all of the hosts: give it once beside --host"]);
  const [only] = socket;
  const socketOf = only === undefined ? {} : { socket: only };
  const each =
    host.length > 0 ? host.map((name) => ({ host: name, ...socketOf })) : socket.map((path) => ({ socket: path }));
  const [first = {}, ...rest] = each;
  const and = (left: typeof rest, reached: [Reached, ...Reached[]]): Promise<T> => {
    const [next, ...others] = left;
    if (next === undefined) return work(reached);
    return withAgent(next, terminal, (one) => and(others, [...reached, one]));
  };
  return withAgent(first, terminal, (one) => and(rest, [one]));
}
