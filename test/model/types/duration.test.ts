import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  type Duration,
  duration,
  formatMilliseconds,
  MAX_DURATION_MS,
  milliseconds,
} from "../../../src/model/types/duration";
import { problems } from "../support/pools";

const spans: [Duration, number][] = [
  ["0 seconds", 0],
  ["1 millisecond", 1],
  ["250 milliseconds", 250],
  ["1 second", 1000],
  ["1.5 seconds", 1500],
  ["30 seconds", 30_000],
  ["2 minutes", 120_000],
  ["0.5 hours", 1_800_000],
  ["7 days", 604_800_000],
];
for (const [text, ms] of spans)
  test(`${text} is ${ms} ms`, () => {
    assert.equal(milliseconds(text), ms);
    assert.deepEqual(problems(duration(), text), []);
  });

for (const text of [
  "",
  "5",
  "5s",
  "5  seconds",
  " 5 seconds",
  "5 seconds\n",
  "-1 seconds",
  "1e3 seconds",
  ".5 seconds",
  "5 Seconds",
  "five seconds",
])
  test(`${JSON.stringify(text)} is no duration`, () => {
    const message = `${JSON.stringify(text)} is not a duration: write a number, a space and a unit, such as "30 seconds"`;
    assert.deepEqual(problems(duration(), text), [`: ${message}`]);
    assert.throws(() => milliseconds(text as Duration), /is not a duration such as "30 seconds"/);
  });

test("a number without a unit is refused with the way to write it", () => {
  assert.deepEqual(problems(duration(), 30), [': 30 is not a duration: write a text such as "30 seconds"']);
});

test("bounds are included, and named as they were given", () => {
  const bounded = duration({ min: "1 second", max: "1 hour" });
  for (const text of ["1 second", "1000 milliseconds", "60 minutes"]) assert.deepEqual(problems(bounded, text), []);
  for (const text of ["999 milliseconds", "61 minutes", `${"9".repeat(60)} days`])
    assert.deepEqual(problems(bounded, text), [`: "${text}" is out of range: use 1 second to 1 hour`]);
});

test("no duration is longer than a timer of Node.js or HAProxy holds", () => {
  assert.deepEqual(problems(duration(), `${MAX_DURATION_MS} milliseconds`), []);
  assert.deepEqual(problems(duration(), "25 days"), [': "25 days" is out of range: use 0 seconds to 24 days']);
});

test("whatever is accepted is a whole, safe number of milliseconds within its bounds", () => {
  const amount = fc.oneof(
    fc.nat().map(String),
    fc.double({ min: 0, max: 1e6, noNaN: true }).map(String),
    fc.bigInt({ min: 0n }).map(String),
  );
  const unit = fc.constantFrom(
    "millisecond",
    "milliseconds",
    "second",
    "seconds",
    "minutes",
    "hours",
    "day",
    "days",
    "weeks",
  );
  fc.assert(
    fc.property(amount, unit, (number, word) => {
      const result = duration({ max: "20 days" }).safeParse(`${number} ${word}`);
      if (!result.success) return;
      const ms = milliseconds(result.data);
      assert.ok(Number.isSafeInteger(ms) && ms >= 0 && ms <= 20 * 86_400_000);
    }),
  );
});

const shown: [number, string][] = [
  [0, "0 ms"],
  [0.4, "0 ms"],
  [999, "999 ms"],
  [999.6, "1 s"],
  [1000, "1 s"],
  [1549, "1.5 s"],
  [59_949, "59.9 s"],
  [59_999, "1 min"],
  [720_000, "12 min"],
  [3_599_999, "1 h"],
  [5_400_000, "1.5 h"],
];
for (const [ms, text] of shown) test(`${ms} ms reads ${text}`, () => assert.equal(formatMilliseconds(ms), text));

test("a longer time never reads as less", () => {
  const back = (text: string) => {
    const [amount, unit] = text.split(" ");
    return Number(amount) * ({ ms: 1, s: 1000, min: 60_000, h: 3_600_000 }[unit ?? ""] ?? Number.NaN);
  };
  fc.assert(
    fc.property(fc.nat(10_000_000), fc.nat(100_000), (ms, more) => {
      assert.ok(back(formatMilliseconds(ms)) <= back(formatMilliseconds(ms + more)));
      assert.ok(Math.abs(back(formatMilliseconds(ms)) - ms) <= Math.max(0.5, ms * 0.05));
    }),
  );
});
