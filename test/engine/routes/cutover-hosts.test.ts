import assert from "node:assert/strict";
import test from "node:test";
import { endEverything } from "../../support/agent";
import { until } from "../../support/until";
import { BACK, startCutover } from "../support/cutover-hosts";

const both = (...wanted: unknown[]) => [wanted, wanted];

test("a cutover on edges of two hosts moves in step, and back whoever dies", async (t) => {
  const { stack, hosts, port, one, fresh, load, declare, reach, place, places, are, dieAt } = await startCutover(t);

  await t.test("a deployer that dies in parity has changed nothing", async () => {
    fresh.isHolding = true;
    await declare("1%");
    await dieAt("the recorded request to be compared", () => fresh.recorded > 0);
    fresh.isHolding = false;
    assert.deepEqual(await places(), both("stable", 0, 0));
  });

  await t.test("a deployer that dies in the shadow stage leaves no copies behind, on no edge", async () => {
    await declare("1%", { windows: { shadow: "1 hour" } });
    await dieAt("all requests to be copied", () => are("shadow", 0, 10_000));
    assert.deepEqual(await places(), both("stable", 0, 0));
  });

  await t.test("one update goes through parity and shadow to 1% on both edges", async () => {
    await reach("1%");
    assert.deepEqual(await places(), both("1%", 100, 0));
  });

  await t.test("a third system in the place of the old one is refused at the preview", async () => {
    await declare("1%", { from: "third" });
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    assert.match(stdout, /third can't become the stable side now: fresh is the candidate with 1% of the requests/);
  });

  await t.test("a host that dies in the middle of a rollout takes the other one back", async () => {
    await reach("10%");
    await declare("50%", { windows: { "50%": "1 hour" } });
    const started = stack.start("up");
    await until("the rollout to be at 50%", () => are("50%", 5000, 0), BACK);
    assert.deepEqual(load.seen().failures, []);
    await endEverything(hosts[1]);
    const { exit, stdout, stderr } = await started.finished;
    assert.notEqual(exit, 0, stdout);
    assert.match(stdout + stderr, new RegExp(`agent at ${hosts[0]}/a.sock is as it was before`));
    assert.deepEqual(await place(one), ["10%", 1000, 0]);
    // The next update starts the host's agent again, which comes back with what was committed, and goes on from there.
    await reach("50%");
    assert.deepEqual(await places(), both("50%", 5000, 0));
  });

  const { failures } = await load.stop();
  const dead = [port + 1, port + 3].map((each) => `port ${each}`);
  assert.deepEqual(
    failures.filter((failure) => !dead.some((each) => failure.includes(each))),
    [],
  );
});
