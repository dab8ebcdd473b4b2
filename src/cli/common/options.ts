import type { Command } from "commander";

/** Options of every verb that talks to an agent. */
export interface AgentGiven {
  socket?: string;
  host?: string;
  json?: boolean;
}

/** Adds what every verb that talks to an agent takes. */
export function withAgentOptions(command: Command): Command {
  return command
    .option("--socket <path>", "the agent's Unix socket (default: $SLUICE_SOCKET, else the only one that it finds)")
    .option("--host <[user@]host>", "use the agent of another host, through the system's ssh and your ssh config")
    .option("--json", "print JSON (schema: docs/cli.md)");
}
