import { join } from "node:path";
import type { AgentProgram } from "../../agent/client/launch";

/** Set by the bundler: the agent that was built with this command. */
declare const SLUICE_AGENT: { file: string; version: string };

export function agentProgram(): AgentProgram {
  return { path: join(__dirname, SLUICE_AGENT.file), version: SLUICE_AGENT.version };
}
