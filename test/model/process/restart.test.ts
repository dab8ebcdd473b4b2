import assert from "node:assert/strict";
import test from "node:test";
import { nextRestart, type RestartPolicy, restartPolicy, restartsWithin } from "../../../src/model/process/restart";

const policy = (parts: Partial<RestartPolicy> = {}): RestartPolicy => restartPolicy.parse(parts);

/** Delays of a process that lives for `livesMs` each time, until it fails or `count` is reached. */
function delays(given: RestartPolicy, count: number, livesMs = 0): (number | "failed")[] {
  const seen: (number | "failed")[] = [];
  let history: number[] = [];
  let now = 1_000_000;
  while (seen.length < count && seen.at(-1) !== "failed") {
    now += livesMs;
    const decision = nextRestart(given, { history, ranForMs: livesMs, now, random: 0 });
    history = decision.history;
    now += decision.delayMs ?? 0;
    seen.push(decision.delayMs ?? "failed");
  }
  return seen;
}

const cases: [title: string, policy: RestartPolicy, livesMs: number, expected: (number | "failed")[]][] = [
  ["delays double up to the cap", policy(), 0, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]],
  ["another factor", policy({ delay: "100 milliseconds", factor: 3 }), 0, [100, 300, 900, 2700, 8100, 24_300, 30_000]],
  ["a factor of 1 keeps the delay", policy({ delay: "2 seconds", factor: 1 }), 0, [2000, 2000, 2000]],
  ["no delay at all", policy({ delay: "0 seconds", maxRestarts: 2 }), 0, [0, 0, "failed"]],
  ["a cap below the delay", policy({ delay: "10 seconds", cap: "3 seconds" }), 0, [3000, 3000]],
  ["beyond the restarts it fails", policy({ maxRestarts: 3 }), 0, [1000, 2000, 4000, "failed"]],
  ["none at all fails at once", policy({ maxRestarts: 0 }), 0, ["failed"]],
  ["after a window of running it starts afresh", policy({ window: "1 minute" }), 60_000, [1000, 1000, 1000]],
  ["a moment less does not", policy({ window: "1 minute", maxRestarts: 9 }), 59_999, [1000, 1000, 1000]],
  [
    "restarts leave the rolling window",
    policy({ delay: "1 second", factor: 1, window: "10 seconds", maxRestarts: 3 }),
    4000,
    [1000, 1000, 1000, 1000, 1000],
  ],
  ["a window of 0 is the lifetime", policy({ window: "0 seconds", maxRestarts: 2 }), 1e10, [1000, 2000, "failed"]],
];
for (const [title, given, livesMs, expected] of cases)
  test(title, () => assert.deepEqual(delays(given, expected.length, livesMs), expected));

test("the default gives up on what never comes up, after minutes", () => {
  const all = delays(policy(), 100);
  assert.equal(all.length, 21);
  assert.equal(all.at(-1), "failed");
  assert.equal(
    all.slice(0, -1).reduce<number>((sum, delay) => sum + Number(delay), 0),
    481_000,
  );
});

test("a clock that was set back does not keep restarts for ever", () => {
  assert.deepEqual(restartsWithin(policy({ window: "1 minute" }), [1_000_000, 2_000_000], 1_000_001), [1_000_000]);
});

test("a process that fails keeps its history, so that it can be told", () => {
  const { history, delayMs } = nextRestart(policy({ maxRestarts: 2 }), {
    history: [10, 20],
    ranForMs: 0,
    now: 30,
    random: 0,
  });
  assert.deepEqual({ history, delayMs }, { history: [10, 20], delayMs: undefined });
});

test("a delay is longer at random, by its jitter at most, also at its cap", () => {
  const delays = (jitter: number, history: number[]) =>
    [0, 0.5, 1].map((random) => nextRestart(policy({ jitter }), { history, ranForMs: 0, now: 9, random }).delayMs);
  assert.deepEqual(delays(0, []), [1000, 1000, 1000]);
  assert.deepEqual(delays(0.1, []), [1000, 1050, 1100]);
  assert.deepEqual(delays(1, [1, 2, 3, 4, 5, 6, 7, 8]), [30_000, 45_000, 60_000]);
});
