import { z } from "zod";
import { quoteValue } from "../src/model/types/messages";
import { policy } from "./support/policy";

const OTHERS = 0o007;

export const agentSocket = policy({
  name: "agent-socket",
  description: "Only chosen users may reach an agent, since they can change traffic and run programs.",
  level: "mandatory",
  config: z.strictObject({}),
  judge: {
    Agent({ mode }) {
      if (mode === undefined || (Number.parseInt(mode, 8) & OTHERS) === 0) return [];
      return [
        {
          at: "mode",
          message: `${quoteValue(mode)} opens the agent to every user of the host: use "0600", or "0660" with a group`,
        },
      ];
    },
  },
});
