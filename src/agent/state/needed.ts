/** Files of a state folder without which no agent starts again. */
export const NEEDED = ["agent.json", "bin/agent.cjs", "bin/start.sh", "bin/guard.sh"] as const;
