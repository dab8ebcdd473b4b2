import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { quoteValue } from "../../src/model/types/messages";
import { problems } from "./support/pools";

const values: [unknown, string][] = [
  ["a\n\u009b\u2028é", '"a\\n\\u009b\\u2028é"'],
  ["x".repeat(100), `"${"x".repeat(80)}..."`],
  [undefined, "nothing"],
  [null, "null"],
  [[1], "a list"],
  [{ a: 1 }, "an object"],
  [Number.NaN, "NaN"],
  [12n, "12"],
];
for (const [value, text] of values) test(`${text.slice(0, 30)} is shown`, () => assert.equal(quoteValue(value), text));

test("a value that can't be written as text or JSON is shown all the same", () => {
  const unknown = {
    toString: () => assert.fail("used as text"),
    toJSON: () => assert.fail("used as JSON"),
  };
  assert.equal(quoteValue(unknown), "an object");
});

test("whatever is shown is short and one line", () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      const text = quoteValue(value);
      assert.ok(text.length < 600);
      assert.doesNotMatch(text, /[\p{Cc}\u2028\u2029]/u);
    }),
  );
});

const schema = z.strictObject({
  text: z.string().min(2).max(3).optional(),
  list: z.array(z.string()).max(1).optional(),
  yes: z.boolean().optional(),
  either: z.union([z.string(), z.number()]).optional(),
});
const CASES: [object, string[]][] = [
  [{ text: "" }, ["text: is empty: give a text"]],
  [{ text: "a" }, ["text: is too short (1 characters): give at least 2"]],
  [{ text: "abcd" }, ["text: is too long (4 characters): give at most 3"]],
  [{ list: ["a", "b"] }, ["list: has too many items (2): give at most 1"]],
  [{ list: "a" }, ['list: "a" is not a list: give one']],
  [{ yes: "true" }, ['yes: "true" is not true or false: give one']],
  [{ either: [] }, ["either: a list does not fit here: see the documentation of this property"]],
  [{ a: 1, b: 2 }, [': "a", "b" does not exist here: remove it, or check its spelling']],
];
for (const [input, expected] of CASES)
  test(`${JSON.stringify(input)} is explained`, () => assert.deepEqual(problems(schema, input), expected));
