import assert from "node:assert/strict";
import test from "node:test";
import { carefulStack, FROZEN, GATE, refusals, textOf } from "../support/careful";

test("the policy pack lets a careful stack through, and refuses careless ones on preview and on up", async (t) => {
  const { hosted, refused, withPack, processes, pool, pools, route, careful, clock } = await carefulStack(t);
  const { stack } = hosted;

  await t.test("a careful stack passes", async () => {
    await hosted.declare(careful);
    const args = await withPack();
    for (const outcome of [await stack.preview(...args), await stack.up(...args)]) {
      assert.equal(outcome.exit, 0, outcome.stdout);
      assert.deepEqual(refusals(outcome), []);
    }
  });

  await t.test("a pool's candidate is held to the same", async () => {
    const bad = [{ split: "60%", window: "6 seconds", gates: [{ ...GATE, minRequests: 1 }] }];
    const canary = { release: hosted.release("v2"), stages: bad, stage: "60%" };
    const web = pool("v1", 1, { ...processes({}, { clock }), canary });
    await hosted.declare({ ...careful, pools: { ...pools, web } });
    const preview = await stack.preview(...(await withPack(FROZEN)));
    assert.deepEqual(
      refusals(preview),
      ["freeze-window", "minimum-requests", "promotion-stages", "sli-window"].map((name) => `${name} web-pool`),
      preview.stdout,
    );
    assert.match(textOf(preview), /moving candidate v2 to 60% is frozen by "test freeze"/);
  });

  await t.test(
    "a route is refused for its stages, gates, windows, samples, service level, and for the time",
    async () => {
      const bad = [
        { split: "1%", window: "6 seconds", gates: [{ ...GATE, thresholds: ["5xx < 5 %"], minRequests: 1 }] },
        { split: "60%", window: "0 seconds" },
        { split: "100%" },
      ];
      await hosted.declare({ ...careful, routes: { all: { ...route, stages: bad, stage: "100%" } } });
      const output = await refused(await withPack(FROZEN), [
        "freeze-window all-route",
        "minimum-requests all-route",
        "promotion-gates all-route",
        "promotion-stages all-route",
        "sli-window all-route",
        "slo-thresholds all-route",
      ]);
      assert.match(
        output,
        /stages\[1\]\.split: 1% to 60% is a jump by a factor of 60, above 10: put a stage such as "10%"/,
      );
      assert.equal((await hosted.client.route("all"))?.committed, 0);
    },
  );
});
