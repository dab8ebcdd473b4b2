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
    .option("--socket <path>", "the agent's Unix socket (default: $SLUICE_SOCKET, else the one that is found)")
    .option("--host <[user@]host>", "reach the agent of another host by the system's ssh, with your own ssh config")
    .option("--json", "print JSON, whose schema docs/cli.md shows");
}
