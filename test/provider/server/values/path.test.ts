import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { contains, getAt, parsePath, renderPath } from "../../../../src/provider/server";

test("paths render as the engine reads them", () => {
  const cases: [(string | number)[], string][] = [
    [["processes", "web", "command", 2], "processes.web.command[2]"],
    [["env", "a.b"], 'env["a.b"]'],
    [["live", "servers", "web#0"], 'live.servers["web#0"]'],
    [["web-1"], '["web-1"]'],
    [["a", 'say "hi"'], 'a["say \\"hi\\""]'],
    [["a", "[0]"], 'a["[0]"]'],
    [[], ""],
  ];
  for (const [path, text] of cases) {
    assert.equal(renderPath(path), text);
    assert.deepEqual(parsePath(text), path);
  }
});

test("wildcards parse in both notations", () => {
  assert.deepEqual(parsePath('processes["*"].env'), ["processes", "*", "env"]);
  assert.deepEqual(parsePath("list[*].name"), ["list", "*", "name"]);
});

test("every path survives rendering and parsing", () => {
  // A backslash before a quote has no notation of its own in the engine either.
  const key = fc.string().filter((s) => s !== "" && !s.includes("\\"));
  const path = fc.array(fc.oneof(key, fc.nat(1_000)), { maxLength: 6 });
  fc.assert(fc.property(path, (elements) => assert.deepEqual(parsePath(renderPath(elements)), elements)));
});

test("what is no path is refused with its reason", () => {
  for (const [text, reason] of [
    [".a", /must start with a name/],
    ["a.", /must end with a name/],
    ['a["b', /no closing quote/],
    ['a["b"', /no closing bracket/],
    ["a[1", /no closing bracket/],
    ["a[x]", /"x" is not an array index/],
  ] as const) {
    assert.throws(() => parsePath(text), reason);
  }
});

test("a path holds those below it, and a wildcard any element", () => {
  assert.ok(contains(["a"], ["a", 0, "b"]));
  assert.ok(contains(["a", "*", "b"], ["a", 0, "b", "c"]));
  assert.ok(!contains(["a", "b"], ["a"]));
  assert.ok(!contains(["a", 1], ["a", "1"]));
});

test("the value at a path, own properties only", () => {
  assert.equal(getAt({ a: [{ b: 1 }] }, ["a", 0, "b"]), 1);
  assert.equal(getAt({ a: {} }, ["a", "constructor"]), undefined);
  assert.equal(getAt({ a: null }, ["a", "b"]), undefined);
});
