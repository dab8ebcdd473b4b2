import path from "node:path";

/** Set by the bundler to the agent's bundle, which lies beside this program's own. */
declare const SLUICE_AGENT: { file: string; version: string } | undefined;

export interface AgentBundle {
  /** Absolute path of the agent's program. */
  path: string;
  /** Version and content hash, such as `0.1.0+1a2b3c4d`: agents of other versions are handed over. */
  version: string;
}

/** The agent that this program was built with; run from source (tests), the agent is bundled when first asked for. */
export function agentBundle(): AgentBundle {
  if (typeof SLUICE_AGENT !== "undefined") {
    return { path: path.join(__dirname, SLUICE_AGENT.file), version: SLUICE_AGENT.version };
  }
  // Not a literal, or the bundler would pull itself in.
  const bundler = path.join(__dirname, "../../../tools/bundle.cjs");
  const { describeBundle } = require(bundler) as { describeBundle(name: string): AgentBundle };
  return describeBundle("agent");
}
