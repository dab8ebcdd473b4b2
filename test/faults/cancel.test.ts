import { faultTests } from "./support/suite";

faultTests({
  name: "Ctrl-C",
  hitless: true,
  aim: async (_, deployment) => ({ hit: () => deployment().kill("SIGINT") }),
});
