import { faultTests } from "./support/suite";

// Its hosts mostly wait for leases to run out.
faultTests({
  name: "SIGKILL of the deployer",
  hitless: true,
  worlds: 4,
  aim: async (_, deployment) => ({ hit: () => deployment().kill("SIGKILL") }),
});
