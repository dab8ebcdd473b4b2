import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { bucketOf, merge, type Sparse } from "../../../src/model/gate/histogram";
import { binomialTail, compareQuantiles, proportionPValue } from "../../../src/model/gate/statistics";

/** A seeded generator (mulberry32), so that the simulations are the same in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("the binomial tail is that of tables and of plain summation", () => {
  const close = (actual: number, expected: number) =>
    assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.max(1e-3, expected), `${actual} instead of ${expected}`);
  close(binomialTail(1, 1, 0.5), 0.5);
  close(binomialTail(8, 10, 0.5), 56 / 1024);
  close(binomialTail(10, 10, 0.95), 0.95 ** 10);
  assert.equal(binomialTail(0, 10, 0.1), 1);
  assert.equal(binomialTail(11, 10, 0.1), 0);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 60 }),
      fc.double({ min: 0.01, max: 0.99, noNaN: true }),
      (n, k, p) => {
        let [term, sum] = [(1 - p) ** n, 0];
        for (let i = 0; i <= n; i++) {
          if (i >= k) sum += term;
          term *= ((n - i) / (i + 1)) * (p / (1 - p));
        }
        close(binomialTail(k, n, p), sum);
      },
    ),
  );
  // Large numbers converge, too: half of a million coins.
  assert.ok(Math.abs(binomialTail(500_000, 1_000_000, 0.5) - 0.5) < 0.001);
});

function binomial(next: () => number, n: number, p: number): number {
  let hits = 0;
  for (let i = 0; i < n; i++) if (next() < p) hits++;
  return hits;
}

test("a candidate that is no worse is rarely found worse, and one that is worse is found", () => {
  const next = random(7);
  const rounds = 400;
  for (const [of, ofStable, share] of [
    [400, 400, 0.05],
    [200, 2000, 0.02],
    [2000, 200, 0.1],
    [300, 300, 0.5],
  ] as const) {
    const rate = (candidateShare: number, alpha: number) => {
      let alarms = 0;
      for (let round = 0; round < rounds; round++) {
        const candidate = { bad: binomial(next, of, candidateShare), of };
        const stable = { bad: binomial(next, ofStable, share), of: ofStable };
        if (proportionPValue(candidate, stable) <= alpha) alarms++;
      }
      return alarms / rounds;
    };
    // Three standard deviations of the simulation itself.
    assert.ok(rate(share, 0.05) <= 0.05 + 3 * Math.sqrt((0.05 * 0.95) / rounds), `${of}/${ofStable}`);
  }
  assert.ok(proportionPValue({ bad: 20, of: 1000 }, { bad: 1, of: 1000 }) < 1e-4);
  // Up to three times as many are tolerated.
  assert.ok(proportionPValue({ bad: 25, of: 1000 }, { bad: 10, of: 1000 }, 3) > 0.5);
  assert.equal(proportionPValue({ bad: 0, of: 10 }, { bad: 0, of: 10 }), 1);
  // Near the stated rate where the test is exact: rare errors, and many requests.
  const exact = random(11);
  let alarms = 0;
  for (let round = 0; round < 300; round++) {
    const side = () => ({ bad: binomial(exact, 4000, 0.02), of: 4000 });
    if (proportionPValue(side(), side()) <= 0.05) alarms++;
  }
  assert.ok(alarms / 300 >= 0.015 && alarms / 300 <= 0.09, String(alarms));
});

/** Latencies with a long tail. */
function latencies(next: () => number, count: number, factor = 1): Sparse {
  return merge(
    Array.from(
      { length: count },
      () =>
        [
          [
            bucketOf(
              Math.round(
                factor * 20 * Math.exp(1.2 * Math.sqrt(-2 * Math.log(next() || 1e-9)) * Math.cos(2 * Math.PI * next())),
              ),
            ),
            1,
          ],
        ] as Sparse,
    ),
  );
}

test("quantiles are compared with at most the stated rate of false alarms, and three times as slow is found", () => {
  const next = random(3);
  const rounds = 150;
  for (const share of [0.5, 0.95]) {
    let [alarms, caught] = [0, 0];
    for (let round = 0; round < rounds; round++) {
      const stable = latencies(next, 400);
      if (compareQuantiles(latencies(next, 400), stable, share, { alpha: 0.05 }) === "worse") alarms++;
      if (compareQuantiles(latencies(next, 400, 3), stable, share, { alpha: 0.05 }) === "worse") caught++;
    }
    assert.ok(alarms / rounds <= 0.05 + 3 * Math.sqrt((0.05 * 0.95) / rounds), `p${share}: ${alarms}`);
    assert.ok(caught / rounds >= 0.95, `p${share}: ${caught}`);
  }
});

test("too few values are said to be too few", () => {
  const some: Sparse = [[10, 50]];
  const slow: Sparse = [[1000, 500]];
  assert.equal(compareQuantiles(slow, some, 0.99, { alpha: 0.01 }), "too few");
  assert.equal(compareQuantiles([], slow, 0.5, { alpha: 0.01 }), "too few");
  assert.equal(compareQuantiles(slow, [[10, 500]], 0.95, { alpha: 0.01 }), "worse");
  assert.equal(compareQuantiles(slow, slow, 0.95, { alpha: 0.01 }), "not worse");
  assert.equal(
    compareQuantiles([[bucketOf(180), 500]], [[bucketOf(100), 500]], 0.95, { alpha: 0.01, tolerance: 2 }),
    "not worse",
  );
});
