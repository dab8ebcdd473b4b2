import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { agentOptions } from "../../model/protocol/agent";

const agentConfig = z.strictObject({ version: z.string(), options: agentOptions });
export type AgentConfig = z.output<typeof agentConfig>;

/** Reads `agent.json`, which those who install an agent write. */
export async function readConfig(directory: string): Promise<AgentConfig> {
  return agentConfig.parse(JSON.parse(await readFile(join(directory, "agent.json"), "utf8")));
}
