import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { nextRestart, RESTART_CAP_MS, RESTART_RESET_MS, type Restarts } from "../../model/restart";

test("delays double from 1 s to 30 s and stay there", () => {
  const delays: number[] = [];
  let restarts: Restarts | undefined;
  for (let exit = 0; exit < 8; exit += 1) {
    restarts = nextRestart(restarts, 10);
    delays.push(restarts.delayMs);
  }
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(restarts?.inARow, 8);
});

const cases: [string, Restarts | undefined, number, Restarts][] = [
  ["the first exit", undefined, 0, { inARow: 1, delayMs: 1000 }],
  [
    "a second exit just short of the reset",
    { inARow: 1, delayMs: 1000 },
    RESTART_RESET_MS - 1,
    { inARow: 2, delayMs: 2000 },
  ],
  ["an exit after a minute of running", { inARow: 7, delayMs: 30_000 }, RESTART_RESET_MS, { inARow: 1, delayMs: 1000 }],
  ["a clock that went back", { inARow: 2, delayMs: 2000 }, -5000, { inARow: 3, delayMs: 4000 }],
];
for (const [title, before, ranForMs, after] of cases)
  test(`after ${title}`, () => assert.deepEqual(nextRestart(before, ranForMs), after));

test("the delay is never above its cap, however many restarts there were", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(RESTART_RESET_MS - 1), (inARow, ranForMs) => {
      const next = nextRestart({ inARow, delayMs: 1 }, ranForMs);
      assert.equal(next.inARow, inARow + 1);
      assert.ok(next.delayMs >= 1000 && next.delayMs <= RESTART_CAP_MS);
    }),
  );
});
