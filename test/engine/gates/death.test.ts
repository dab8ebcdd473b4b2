import test from "node:test";
import type { StageInput } from "../../../src/model/route/stages";
import { until } from "../../support/until";
import { errors, SPLITS, startGated } from "../support/gated";

test("a deployer that dies within its gates", async (t) => {
  const { hosted, declare, split, startTraffic } = await startGated(t);
  const { stack, client } = hosted;
  startTraffic(60);

  await t.test("the deployer's death at any stage puts the split back within the lease", async () => {
    for (const at of SPLITS) {
      const hour = { split: at, window: "1 hour", gates: [errors] } satisfies StageInput;
      const stages = SPLITS.map((share) => (share === at ? hour : { split: share, window: "0 seconds" }) as StageInput);
      await declare("clean", "100%", stages);
      const up = stack.start("up");
      await until(`the rollout is at ${at}`, async () => (await split()) === Number.parseInt(at, 10) * 100, {
        deadlineMs: 60_000,
      });
      const [transaction] = (await client.status()).transactions;
      process.kill(transaction?.owner.pid ?? 0, "SIGKILL");
      const killed = performance.now();
      await until("the split is back", async () => (await split()) === 0);
      t.diagnostic(`killed at ${at}: back after ${Math.round(performance.now() - killed)} ms`);
      up.signal("SIGKILL");
      await up.finished;
      await stack.cancel();
    }
  });
});
