import assert from "node:assert/strict";
import test from "node:test";
import { problemsOf } from "../../../src/cli/status/problems";
import { brokenHost } from "../support/broken-host";

/** Refused by an agent at each change, but status must not call them good where one answers so all the same. */
test("what an agent should never answer is a problem, too", async (t) => {
  const { client } = await brokenHost(t);
  const status = await client.status();
  const now = new Date();
  assert.deepEqual(problemsOf(status, now), []);

  const { api: route = assert.fail() } = status.routes;
  const { web: pool = assert.fail() } = status.pools;
  assert.ok("spec" in route && "live" in pool);
  const elsewhere = { ...route, spec: { ...route.spec, edges: ["main", "lost"] } };
  assert.deepEqual(problemsOf({ ...status, routes: { api: elsewhere } }, now), [
    {
      subject: "route api",
      message: "edge lost is not on this agent: pulumi up declares it, or takes it from the route",
    },
  ]);
  const { live } = pool;
  assert.ok(live !== undefined);
  const without = { ...pool, live: { ...live, processes: { ...live.processes, clock: "missing" as const } } };
  const processes = pool.processes.filter(({ key }) => key !== "clock");
  assert.deepEqual(problemsOf({ ...status, pools: { web: { ...without, processes } } }, now), [
    { subject: "clock of pool web", message: "does not exist: pulumi up starts it" },
  ]);
});
