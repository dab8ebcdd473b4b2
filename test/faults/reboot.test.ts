import { powerCut } from "./support/host";
import { faultTests } from "./support/suite";

faultTests({
  name: "reboot",
  hitless: false,
  aim: async (world, deployment) => ({
    hit: async () => {
      await powerCut(world.directory, [deployment()]);
      await world.startAgent();
    },
  }),
});
