import assert from "node:assert/strict";
import test from "node:test";
import { until } from "../../support/until";
import { BACK, startCutover } from "../support/cutover-hosts";

const both = (...wanted: unknown[]) => [wanted, wanted];

test("a soak judges what the shadow answered on the edges of all hosts, before anybody is led there", async (t) => {
  const { fresh, load, declare, up, reach, places } = await startCutover(t);
  await reach("stable", { soak: "shadow" });
  assert.deepEqual(await places("soaked"), both("shadow", 0, 10_000));
  fresh.badCopies = true;
  const sent = () => load.seen().answers["old 200"] ?? 0;
  const before = sent();
  await until("requests to be copied", () => sent() > before + 100, BACK);
  await declare("stable", { soak: "100%" });
  const bad = await up();
  fresh.badCopies = false;
  assert.notEqual(bad.exit, 0, bad.said);
  assert.match(bad.said, /stage 100% of route soaked: gate soak: /);
  assert.deepEqual(await places("soaked"), both("shadow", 0, 10_000));
  // Once ten seconds without such an answer are recorded, it passes at once.
  await until("a clean soak", async () => (await up()).exit === 0, { deadlineMs: 120_000, intervalMs: 1000 });
  assert.deepEqual(await places("soaked"), both("100%", 10_000, 0));
  assert.deepEqual((await load.stop()).failures, []);
});
