import assert from "node:assert/strict";
import test from "node:test";
import { inParallel } from "../../../src/agent/support/in-parallel";

test("work is done so many at a time, and its results come in order", async () => {
  let underWay = 0;
  let most = 0;
  const results = await inParallel([3, 1, 2, 0], 2, async (turns) => {
    underWay += 1;
    most = Math.max(most, underWay);
    for (let turn = 0; turn < turns; turn++) await undefined;
    underWay -= 1;
    return turns * 10;
  });
  assert.deepEqual([results, most], [[30, 10, 20, 0], 2]);
  assert.deepEqual(await inParallel([], 4, async () => 1), []);
});

test("after a failure nothing more is begun, and what was begun has ended", async () => {
  const seen: number[] = [];
  const ended: number[] = [];
  const work = inParallel([0, 1, 2, 3, 4], 2, async (n) => {
    seen.push(n);
    if (n === 0) throw new Error("no");
    await new Promise(setImmediate);
    ended.push(n);
  });
  await assert.rejects(work, /^Error: no$/);
  assert.deepEqual([seen, ended], [[0, 1], [1]]);
});
