import { kill } from "./support/host";
import { faultTests } from "./support/suite";

faultTests({
  name: "SIGKILL of the agent, which its guard restarts",
  hitless: true,
  // The guard lets an agent that dies again and again wait longer each time.
  casesPerWorld: 4,
  aim: async (world) => {
    const { agent } = await world.agent();
    return { hit: () => kill(agent) };
  },
});

faultTests({
  name: "SIGKILL of the agent and its guard",
  hitless: true,
  aim: async (world) => {
    const { agent, guard } = await world.agent();
    return {
      hit: async () => {
        kill(guard);
        kill(agent);
        await world.startAgent();
      },
    };
  },
});
