import assert from "node:assert/strict";
import { kill } from "./support/host";
import { faultTests } from "./support/suite";
import { EDGE } from "./support/world";

faultTests({
  name: "SIGKILL of a HAProxy worker",
  hitless: false,
  aim: async (world) => {
    const worker = (await world.client.edge(EDGE))?.observed.worker;
    assert.ok(worker);
    return { hit: () => kill(worker) };
  },
});

faultTests({
  name: "SIGKILL of the HAProxy master",
  hitless: false,
  aim: async (world) => {
    const master = (await world.client.edge(EDGE))?.observed.master;
    assert.ok(master);
    return { hit: () => kill({ pid: master }) };
  },
});
