import assert from "node:assert/strict";
import test from "node:test";
import type { GateInput } from "../../../src/model/gate/gate";
import type { StageInput } from "../../../src/model/route/stages";
import { startPrometheus, withoutPrometheus } from "../../support/prometheus";
import { until } from "../../support/until";
import { errors, interval, startGated } from "../support/gated";

test("gates undo a promotion under load, and a soak holds one up", async (t) => {
  const { hosted, declare, split, startTraffic, breach } = await startGated(t);
  const { stack, client } = hosted;
  startTraffic(60);

  await t.test("2 % errors are undone within the window, by the first red probe", async () => {
    await declare("faulty", "50%", [{ split: "50%", window: "5 minutes", gates: [errors] }]);
    assert.match(await breach(), /gate errors: failed: 5xx [\d.]+ %, not < 0\.5 % \(\d+ requests\)/);
  });

  await t.test("a p95 of 3 times the stable side's is undone within the window", async () => {
    const gates: GateInput[] = [
      { kind: "sli", name: "latency", interval, notWorseThanStable: { metrics: ["p95"] }, minRequests: 50 },
    ];
    await declare("slow", "50%", [{ split: "50%", window: "5 minutes", gates }]);
    assert.match(await breach(), /gate latency: failed: worse than the stable side: p95 \d+ ms beside \d+ ms/);
  });

  await t.test(
    "a metrics server that dies within the window is unavailable",
    { skip: withoutPrometheus },
    async (t) => {
      const { url, kill } = await startPrometheus(t, "127.0.0.1:1");
      const gates: GateInput[] = [
        { kind: "sli", source: "prometheus", url, query: "vector(1)", must: "> 0", interval },
      ];
      await declare("clean", "50%", [{ split: "50%", window: "5 minutes", gates }]);
      const up = breach();
      await until("the rollout is at 50%", async () => (await split()) === 5000, { deadlineMs: 60_000 });
      kill();
      assert.match(await up, /gate sli: unavailable 3 times in a row: http.* did not answer: /);
    },
  );

  await t.test("a soak is judged by what was recorded, before any request goes to its stage", async () => {
    const soaked = (duration: string) => {
      const gates = [{ kind: "soak", duration, thresholds: ["5xx < 0.5 %"], minRequests: 1 }] as GateInput[];
      return [
        { split: "10%", window: "0 seconds" },
        { split: "100%", window: "0 seconds", gates },
      ] satisfies StageInput[];
    };
    await declare("clean", "100%", soaked("50 minutes"));
    assert.match((await stack.preview()).stdout, /go to stage 10% first, and continue after that time/);
    await declare("clean", "10%", soaked("50 minutes"));
    assert.equal((await stack.up()).exit, 0);
    await declare("clean", "100%", soaked("50 minutes"), { onBreach: "stable" });
    const early = await stack.preview();
    assert.match(
      early.stdout + early.stderr,
      /stage 100% can't be entered yet: its gate soak needs the route to be held/,
    );
    // Too early is no breach: who is on the candidate stays there.
    assert.match(await breach(), /gate soak: insufficient: held for .*: [\d.]+ min are missing/);
    assert.equal(await split(), 1000);
    const { since = 0 } = (await client.route("api")) ?? {};
    await until("it was held for long enough", () => Date.now() - since > 12_000);
    await declare("clean", "100%", soaked("10 seconds"));
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    assert.equal(await split(), 10_000);
  });
});
