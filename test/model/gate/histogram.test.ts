import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  BUCKETS,
  bucketOf,
  countAbove,
  countOf,
  highestOf,
  lowestOf,
  MAX_VALUE,
  merge,
  middleOf,
  quantile,
  type Sparse,
} from "../../../src/model/gate/histogram";

function histogram(values: number[]): Sparse {
  return merge(values.map((value) => [[bucketOf(value), 1]]));
}

test("every value is in the bucket whose bounds hold it, and buckets leave no gap", () => {
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    assert.equal(bucketOf(lowestOf(bucket)), bucket);
    assert.equal(bucketOf(highestOf(bucket)), bucket);
    assert.equal(highestOf(bucket) + 1, lowestOf(bucket + 1));
  }
  assert.equal(highestOf(BUCKETS - 1), MAX_VALUE);
  assert.equal(bucketOf(MAX_VALUE + 1), BUCKETS - 1);
  assert.equal(bucketOf(2 ** 40), BUCKETS - 1);
});

test("a quantile is at most 1 % off the exact one, for any values", () => {
  const values = fc.array(fc.oneof(fc.nat(200), fc.nat(10_000), fc.nat(MAX_VALUE)), { minLength: 1, maxLength: 500 });
  fc.assert(
    fc.property(values, fc.constantFrom(0.01, 0.5, 0.9, 0.95, 0.99, 1), (all, share) => {
      const sorted = all.toSorted((a, b) => a - b);
      const exact = sorted[Math.max(1, Math.ceil(all.length * share)) - 1] ?? Number.NaN;
      const read = quantile(histogram(all), share) ?? Number.NaN;
      assert.ok(Math.abs(read - exact) <= exact * 0.01, `${read} instead of ${exact}`);
    }),
  );
});

test("an empty histogram has no quantile, which is not 0", () => {
  assert.equal(quantile([], 0.95), undefined);
  assert.equal(quantile([[0, 3]], 0.95), 0);
});

test("merging loses nothing", () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(100_000))), (parts) => {
      assert.deepEqual(merge(parts.map(histogram)), histogram(parts.flat()));
      assert.equal(countOf(histogram(parts.flat())), parts.flat().length);
    }),
  );
});

test("only what certainly exceeds a limit is counted above it", () => {
  const values = [1, 5, 500, 501, 509, 520, 9000];
  assert.equal(countAbove(histogram(values), 5), 5);
  assert.ok(countAbove(histogram(values), 500) <= 4);
  assert.equal(middleOf(bucketOf(100)), 100);
});
