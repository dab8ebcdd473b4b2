import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  type Json,
  JsonError,
  jsonText,
  lineAt,
  MAX_DEPTH,
  parseExactly,
  parseJson,
} from "../../../src/model/parity/json";
import { parsePointer, pointAt } from "../../../src/model/parity/pointer";

test("whatever the engine's parser reads without loss, ours reads alike", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      assert.deepEqual(asDoubles(parseExactly(text)), JSON.parse(text));
    }),
  );
  for (const text of [
    ' { "a" : [ ] , "b" : { } }\r\n',
    '"\\ud83d\\ude00\\u0000\\"\\\\"',
    "-0",
    "1e-7",
    "[1E+2,2e05]",
    '{"a":1,"a":2}',
  ])
    assert.deepEqual(parseExactly(text), JSON.parse(text));
});

test("whatever the engine's parser refuses, ours refuses", () => {
  const noise = fc.array(fc.constantFrom(...'{}[]:,"\\0123-.eE+ truefalsn\u0001\n'.split("")), { maxLength: 12 });
  fc.assert(
    fc.property(
      noise.map((parts) => parts.join("")),
      (text) => {
        let refused = false;
        try {
          JSON.parse(text);
        } catch {
          refused = true;
        }
        if (refused) assert.throws(() => parseExactly(text), JsonError);
        else assert.deepEqual(asDoubles(parseExactly(text)), JSON.parse(text));
      },
    ),
    { numRuns: 2000 },
  );
});

test("whole numbers stay exact at any size, and go out as they came in", () => {
  const big = "[9007199254740993,-12345678901234567890,9007199254740991,1.5,1e21]";
  assert.deepEqual(parseJson(big), [9007199254740993n, -12345678901234567890n, 9007199254740991, 1.5, 1e21]);
  assert.equal(jsonText(parseJson(big)), "[9007199254740993,-12345678901234567890,9007199254740991,1.5,1e+21]");
  assert.equal(parseJson("9007199254740993"), 9007199254740993n);
  assert.equal(jsonText({ a: undefined, b: [null, "x\n"] }), '{"b":[null,"x\\n"]}');
});

test("a member named __proto__ is a member", () => {
  const parsed = parseExactly('{"__proto__": {"a": 1}}') as object;
  assert.deepEqual(Object.keys(parsed), ["__proto__"]);
  assert.equal(Object.getPrototypeOf(parsed), Object.prototype);
});

test("a text of megabytes and any nesting are read or refused, and never overflow the stack", () => {
  const long = "x\\n".repeat(2_000_000);
  assert.equal((parseExactly(`"${long}"`) as string).length, 4_000_000);
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  parseExactly(nested(MAX_DEPTH));
  assert.throws(() => parseExactly(nested(MAX_DEPTH + 1)), /nests deeper than 200 levels/);
  assert.throws(() => parseExactly("[".repeat(1_000_000)), /nests deeper/);
});

test("what is wrong has its place", () => {
  const place = (text: string) => {
    try {
      parseJson(text);
      return "none";
    } catch (error) {
      return `${(error as JsonError).offset}: ${(error as Error).message}`;
    }
  };
  assert.equal(place('{"a": 1,}'), '8: is not JSON: "}" at character 9, where a text should be');
  assert.equal(place(""), "0: is not JSON: the end at character 1, where a value should be");
  assert.equal(place("[1] x"), '4: is not JSON: "x" at character 5, where the end should be');
  assert.equal(lineAt("a\nb\nc", 0), 1);
  assert.equal(lineAt("a\nb\nc", 4), 3);
});

test("JSON pointers follow RFC 6901", () => {
  const document = { foo: ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, nothing: null };
  const at = (pointer: string) => pointAt(document, parsePointer(pointer));
  assert.equal(at(""), document);
  assert.deepEqual(["/foo/0", "/", "/a~1b", "/m~0n", "/nothing"].map(at), ["bar", 0, 1, 8, null]);
  for (const missing of [
    "/none",
    "/foo/2",
    "/foo/-",
    "/foo/00",
    "/foo/length",
    "/a~1b/c",
    "/constructor",
    "/nothing/x",
  ])
    assert.equal(at(missing), undefined, missing);
  for (const wrong of ["data", "/a~2", "/a~"]) assert.throws(() => parsePointer(wrong), /is not a JSON pointer/);
});

/** Loses on purpose the digits that are lost when whole numbers become doubles. */
function asDoubles(value: Json): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(asDoubles);
  if (typeof value !== "object" || value === null) return value;
  const target = {};
  for (const [key, member] of Object.entries(value))
    Object.defineProperty(target, key, {
      value: asDoubles(member),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  return target;
}
