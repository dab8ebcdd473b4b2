import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type JavaScriptValue, Struct } from "google-protobuf/google/protobuf/struct_pb";
import { containsUnknown, isUnknown, marshal, UNKNOWN, unmarshal } from "../../../../src/provider/server";

const SIGNATURE = "4dabf18193072939515e22adb298388d";
const secret = (value: JavaScriptValue) => ({ [SIGNATURE]: "1b47061264138c4ac30d75fd1eb44270", value });
const output = (fields: { [key: string]: JavaScriptValue }) => ({
  [SIGNATURE]: "d0e6a833031e9bbcd3f4e8bde6ca49a4",
  ...fields,
});
const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const read = (bag: { [key: string]: JavaScriptValue }) => unmarshal(Struct.fromJavaScript(bag));

test("plain values come through, and an absent bag is empty", () => {
  const bag = { s: "x", n: 1.5, b: false, nothing: null, list: [1, [2]], map: { "a.b": {} } };
  assert.deepEqual(read(bag), { value: bag, secretPaths: [] });
  assert.deepEqual(unmarshal(undefined), { value: {}, secretPaths: [] });
});

test("a secret is unwrapped, and its outermost path kept", () => {
  const { value, secretPaths } = read({ a: [{ token: secret("x") }], env: secret({ K: secret("y") }) });
  assert.deepEqual(value, { a: [{ token: "x" }], env: { K: "y" } });
  assert.deepEqual(secretPaths, [["a", 0, "token"], ["env"]]);
});

test("what is not known yet is UNKNOWN, inside secrets and outputs, too", () => {
  const { value, secretPaths } = read({ a: unknown, b: secret(unknown), c: output({}), d: output({ secret: true }) });
  assert.deepEqual(Object.values(value).map(isUnknown), [true, true, true, true]);
  assert.deepEqual(secretPaths, [["b"], ["d"]]);
  assert.ok(containsUnknown({ x: [{ y: UNKNOWN }] }));
  assert.ok(!containsUnknown({ x: [{ y: null }] }));
});

test("an output is its value, a resource its id or else its URN", () => {
  const reference = { [SIGNATURE]: "5cf8f73096256a8f31e491e813e4eb8e", urn: "urn:x" };
  const { value, secretPaths } = read({
    known: output({ value: 7, secret: true, dependencies: ["urn:y"] }),
    custom: { ...reference, id: "edge-1" },
    component: reference,
    pending: { ...reference, id: unknown },
  });
  assert.deepEqual(value, { known: 7, custom: "edge-1", component: "urn:x", pending: UNKNOWN });
  assert.deepEqual(secretPaths, [["known"]]);
});

test("assets and archives are refused by path", () => {
  const asset = { [SIGNATURE]: "c44067f5952c0a294b673a41bacd8c17", text: "x" };
  assert.throws(() => read({ config: { file: asset } }), /^Error: config\.file is an asset, .* give a path/);
});

test("an unknown value cannot be used as text by mistake", () => {
  assert.throws(() => `${UNKNOWN}`, /not known until the update/);
  assert.throws(() => JSON.stringify({ a: UNKNOWN }), /not known until the update/);
});

test("values written and read again are the same, with their secrets", () => {
  // The protocol buffers library keeps a map in a plain object, and so cannot hold that one key.
  const key = fc.string().filter((name) => name !== "__proto__");
  const leaf = fc.oneof(fc.string(), fc.boolean(), fc.constant(null), fc.constant(UNKNOWN), fc.integer());
  const { bag } = fc.letrec((tie) => ({
    value: fc.oneof(leaf, fc.array(tie("value"), { maxLength: 3 }), tie("bag")),
    bag: fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  }));
  fc.assert(
    fc.property(bag, (value) => {
      const object = value as Record<string, unknown>;
      const secretPaths = Object.keys(object).map((name) => [name]);
      const sorted = [...secretPaths].sort(([a = ""], [b = ""]) => (a < b ? -1 : 1));
      assert.deepEqual(unmarshal(marshal(object)), { value: object, secretPaths: [] });
      assert.deepEqual(unmarshal(marshal(object, secretPaths)), { value: object, secretPaths: sorted });
    }),
  );
});

test("secrets are marked by path, by wildcard, and by what a string holds", () => {
  const value = {
    list: [{ env: { K: "a" } }, { env: { K: "b" } }],
    command: "run --t=hunter2hunter2",
    gone: undefined,
  };
  const paths = [
    ["list", "*", "env"],
    ["missing", "path"],
  ];
  const marked = unmarshal(marshal(value, paths, (text) => text.includes("hunter2")));
  assert.deepEqual(marked.value, { list: value.list, command: value.command });
  assert.deepEqual(marked.secretPaths, [["command"], ["list", 0, "env"], ["list", 1, "env"]]);
});

test("what has no wire form is refused by path", () => {
  assert.throws(() => marshal({ a: { b: [Number.NaN] } }), /a\.b\[0\] holds number/);
  assert.throws(() => marshal({ when: new Date(0) }), /when holds a Date/);
});
