import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Canonical } from "../../src/model/parity/canonical";
import { type Json, jsonText, parseJson } from "../../src/model/parity/json";
import { isSecretName, Redactor } from "../../src/model/parity/redact";
import { compareData, differenceOf } from "../../src/parity/compare/compare";
import { diffRows } from "../../src/parity/compare/diff";

const PRECISION = 6;

function difference(upstream: Json, candidate: Json, precision = PRECISION): string {
  return differenceOf(compareData(upstream, candidate, new Canonical(precision))) ?? "equal";
}

/** Compares two JSON texts with one row each. */
function rows(upstream: string, candidate: string, precision = PRECISION): string {
  return difference([parseJson(upstream)], [parseJson(candidate)], precision);
}

for (const [a, b] of [
  ["1", "1.0"],
  ["0", "-0"],
  ["0", "-0.0000001"],
  ["100", "1e2"],
  ["1e21", "1000000000000000000000"],
  ["1.5e300", `15${"0".repeat(299)}`],
  ["9007199254740993", "9007199254740993"],
  ["0.1234564", "0.1234561"],
  ["0.30000000000000004", "0.3"],
  // The same middle between two roundings, with and without the noise of a double's arithmetic.
  ["0.1234565", "0.12345649999999999"],
  ["-2.0000005", "-2.00000049999999999"],
  ["5.0000001", "5"],
  ['{"a":{"x":[1,{"b":2,"c":0.0000001}]},"d":null}', '{"d":null,"a":{"x":[1,{"c":0,"b":2.0}]}}'],
] as const)
  test(`${a.slice(0, 40)} is ${b.slice(0, 40)}`, () => {
    assert.equal(rows(a, b), "equal");
    assert.equal(rows(b, a), "equal");
  });

for (const [a, b] of [
  ["9007199254740992", "9007199254740993"],
  ["12345678901234567890", "12345678901234567891"],
  ["1", '"1"'],
  ["1", "true"],
  ["null", '"null"'],
  ["null", "false"],
  ["0", "null"],
  ['""', "null"],
  ["[]", "{}"],
  ["[1,2]", "[2,1]"],
  ["[[1],[2]]", "[[1,2]]"],
  ['{"a":null}', "{}"],
  ['{"a":1}', '{"b":1}'],
  ["0.123456", "0.123457"],
  ["-0.5", "0.5"],
  ['"a"', '"a "'],
  ['"\\u00e9"', '"e\\u0301"'],
  ['["1,2"]', '["1","2"]'],
  ['{"a":"1,b"}', '{"a":1,"b":""}'],
] as const)
  test(`${a} is not ${b}`, () => {
    assert.equal(rows(a, b), "different");
    assert.equal(rows(b, a), "different");
  });

test("a precision of 0 compares whole numbers, and of 15 what a double tells", () => {
  assert.equal(rows("1.4", "1", 0), "equal");
  assert.equal(rows("1.5", "2", 0), "equal");
  assert.equal(rows("-1.5", "-2", 0), "equal");
  assert.equal(rows("1.5", "1", 0), "different");
  assert.equal(rows("0.123456789012345", "0.123456789012346", 15), "different");
  assert.equal(rows("123456789.12345679", "123456789.12345678", 15), "different");
});

test("rows are a multiset, and data that is no list is one row", () => {
  assert.equal(difference([1, 2, 2], [2, 1, 2]), "equal");
  assert.equal(difference([1, 2, 2], [2, 1, 1]), "different");
  assert.equal(difference([1, 2, 2], [1, 2]), "missing-in-candidate");
  assert.equal(difference([1, 2], [2, 2, 1]), "extra-in-candidate");
  assert.equal(difference([], []), "equal");
  assert.equal(difference({ a: 1 }, { a: 1.00000001 }), "equal");
  assert.equal(difference({ a: 1 }, [{ a: 1 }]), "different");
  assert.equal(difference([], {}), "different");
  assert.equal(difference(null, []), "different");
});

const value = fc.letrec<{ any: Json }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 3 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.string(),
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e8, max: 1e8 }),
    fc.array(tie("any"), { maxLength: 4 }),
    fc.dictionary(fc.string({ maxLength: 4 }), tie("any"), { maxKeys: 4 }),
  ),
})).any;
const data = fc.array(value, { maxLength: 12 });
const shuffled = data.chain((list) =>
  fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
);

test("the order of rows never matters, nor that of keys, nor a way through JSON", () => {
  fc.assert(
    fc.property(shuffled, ([list, other]) => {
      assert.equal(difference(list, parseJson(jsonText(reversedKeys(other)))), "equal");
    }),
  );
});

test("a row that is dropped or doubled always shows, with its own class and count", () => {
  fc.assert(
    fc.property(shuffled, fc.nat(), ([list, other], pick) => {
      fc.pre(list.length > 0);
      const index = pick % list.length;
      const dropped = other.toSpliced(index, 1);
      assert.equal(difference(list, dropped), "missing-in-candidate");
      assert.equal(difference(dropped, list), "extra-in-candidate");
      assert.equal(difference(list, [...other, other[index] as Json]), "extra-in-candidate");
    }),
  );
});

test("a float moved within its rounding never shows, moved by a unit or more always", () => {
  const unit = 10 ** -PRECISION;
  const whole = fc.integer({ min: -1_000_000_000, max: 1_000_000_000 });
  // Within 0.45 units of a rounded number, and so always rounded to it.
  const inside = fc.double({ min: -0.45, max: 0.45, noNaN: true });
  fc.assert(
    fc.property(
      shuffled,
      whole,
      inside,
      inside,
      fc.double({ min: 1, max: 1e6, noNaN: true }),
      ([list, other], n, a, b, far) => {
        const row = (x: number): Json => ({ deep: [{ x }] });
        const at = (offset: number) => (n + offset) * unit;
        assert.equal(difference([...list, row(at(a))], [row(at(b)), ...other]), "equal");
        assert.equal(difference([...list, row(at(a))], [row(at(a + far * 1.000001)), ...other]), "different");
      },
    ),
  );
});

test("what is equal and what is left add up to all rows", () => {
  fc.assert(
    fc.property(data, data, (ours, theirs) => {
      const { upstream, candidate, equal, missing, extra } = compareData(ours, theirs, new Canonical(PRECISION));
      assert.deepEqual([equal + missing.length, equal + extra.length], [upstream, candidate]);
      assert.deepEqual([upstream, candidate], [ours.length, theirs.length]);
    }),
  );
});

test("a diff pairs the rows that resemble each other, and stays small", () => {
  const canonical = new Canonical(PRECISION);
  const shown = (ours: Json, theirs: Json) => diffRows(compareData(ours, theirs, canonical), canonical, new Redactor());
  const { missing, extra, different } = shown(
    [{ id: 1, a: 1, b: 1 }, { id: 2, a: 2, b: 2 }, "alone"],
    [{ id: 2, a: 2, b: 3 }, { id: 1, a: 0, b: 1 }, [1]],
  );
  assert.deepEqual([missing, extra], [["alone"], [[1]]]);
  assert.deepEqual(
    different.map(({ fields }) => fields),
    [[{ field: "a", upstream: 1, candidate: 0 }], [{ field: "b", upstream: 2, candidate: 3 }]],
  );
  const wide = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`k${index}`, "x".repeat(5000)]));
  const many = (seed: number) =>
    Array.from({ length: 3000 }, (_, index) => ({
      ...(index < 3 && wide),
      id: index * 2 + seed,
      deep: [[[[[[index]]]]]],
    }));
  const large = shown(many(0), many(1));
  assert.ok(jsonText(large).length < 50_000, String(jsonText(large).length));
  assert.deepEqual([large.different.length, large.differentNotShown], [5, 15]);
  assert.equal(large.missing.length + large.missingNotShown + 20, 3000);
});

test("secrets are hidden by name and by value, and innocent names are left", () => {
  for (const name of [
    "Authorization",
    "cookie",
    "Set-Cookie",
    "X-Api-Key",
    "api_key",
    "accessToken",
    "password",
    "client_secret",
    "session_id",
    "OAuth",
  ])
    assert.ok(isSecretName(name), name);
  for (const name of ["author", "authors", "sessions_played", "key", "monkey_id", "id", "host"])
    assert.ok(!isSecretName(name), name);
  const redactor = new Redactor(["Bearer abcdefgh", "id=cookie-value"], ["production tenant"]);
  assert.equal(redactor.text("Bearer production, production tenant"), "Bearer production, [redacted]");
  assert.deepEqual(
    redactor.value({ a: ["x abcdefgh y", { token: "t", is_authenticated: true }], b: "Bearer abcdefgh", c: 1n }),
    {
      a: ["x [redacted] y", { token: "[redacted]", is_authenticated: true }],
      b: "[redacted]",
      c: 1n,
    },
  );
});

function reversedKeys(from: Json): Json {
  if (Array.isArray(from)) return from.map(reversedKeys);
  if (typeof from !== "object" || from === null) return from;
  const entries = Object.entries(from).reverse();
  const target: { [key: string]: Json } = {};
  for (const [key, member] of entries)
    Object.defineProperty(target, key, {
      value: reversedKeys(member),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  return target;
}
