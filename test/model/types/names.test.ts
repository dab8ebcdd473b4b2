import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import type { z } from "zod";
import { urlPath } from "../../../src/model/edge/backend";
import { ipAddress } from "../../../src/model/edge/edge";
import { agentOptions } from "../../../src/model/protocol/agent";
import { owner, target } from "../../../src/model/protocol/transaction";
import { absolutePath, hasControl, name, releaseId, serverKey } from "../../../src/model/types/names";
import { problems } from "../support/pools";

/** Characters that have a meaning in HAProxy's config, a shell, a path or a terminal, among ordinary ones. */
const NASTY = [
  ..." \t\n\r\0\u001b\u007f\u0085\u009b\u2028\u2029'\"\\#$`;|&<>(){}[]*?!~%@:,=+./-_",
  "\ud800",
  "..",
  "é",
  "A",
  "a",
  "z",
  "0",
  "9",
  "v1",
];
const PREFIXES = ["", "/", "a", "v1", "edge/a", "pool/web", "backend/main/api", "127.0.0.1", "::1", "/srv/app"];
const hostile = fc
  .tuple(
    fc.constantFrom(...PREFIXES),
    fc.array(fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: "binary", maxLength: 2 })), { maxLength: 6 }),
    fc.constantFrom("", ...PREFIXES),
  )
  .map(([before, middle, after]) => before + middle.join("") + after);

const CONTROL = /[\p{Cc}\u2028\u2029]/u;

/** The law of each schema: what may never be in a text that it lets through. */
const LAWS: Record<string, { schema: z.ZodType<string>; never: RegExp }> = {
  name: { schema: name, never: /[^a-z0-9-]|^-/ },
  serverKey: { schema: serverKey, never: /[^a-z0-9-]|^-/ },
  releaseId: { schema: releaseId, never: /[^A-Za-z0-9._-]|^[.-]/ },
  target: { schema: target, never: /[^a-z0-9/-]|\/\/|\/-/ },
  ipAddress: { schema: ipAddress, never: /[^0-9A-Fa-f.:]/ },
  urlPath: { schema: urlPath, never: /[^!-~]|["'\\#]|^[^/]|%(?![0-9A-Fa-f]{2})/ },
  absolutePath: { schema: absolutePath, never: new RegExp(`${CONTROL.source}|(^|/)\\.\\.(/|$)|^[^/]|^$`, "u") },
  account: { schema: agentOptions.shape.owner.unwrap(), never: /[^a-z0-9_-]|^-/ },
  who: { schema: owner.shape.who, never: CONTROL },
  why: { schema: owner.shape.why, never: CONTROL },
};

for (const [title, { schema, never }] of Object.entries(LAWS))
  test(`nothing that ${title} lets through can break out of a config line, a file name or a shell word`, () => {
    fc.assert(
      fc.property(hostile, (text) => {
        if (schema.safeParse(text).success) assert.doesNotMatch(text, never);
      }),
      { numRuns: 500 },
    );
  });

test("a path that passes survives its way to the file system as it is", () => {
  fc.assert(
    fc.property(hostile, (text) => {
      if (absolutePath.safeParse(text).success) assert.equal(Buffer.from(text).toString(), text);
    }),
    { numRuns: 500 },
  );
});

const accepted: [string, z.ZodType, string[]][] = [
  ["name", name, ["a", "web", "web-1", "a".repeat(40)]],
  ["serverKey", serverKey, ["a".repeat(64)]],
  ["releaseId", releaseId, ["v2", "2026-11-21.3", "0", "a1b2c3d_x", "A".repeat(64)]],
  ["absolutePath", absolutePath, ["/", "/srv/app/v1", "/home/josé/My Projects", "/a/..b/c..", "/it's"]],
  ["urlPath", urlPath, ["/", "/healthz?full=1&x=%20", "/a;b=c"]],
  ["target", target, ["edge/main", "pool/web", "backend/main/api"]],
];
for (const [title, schema, texts] of accepted)
  test(`${title} accepts what is right`, () => {
    for (const text of texts) assert.deepEqual(problems(schema, text), []);
  });

const NOT_A_NAME =
  'is not a name: use lower-case letters, digits and "-", starting with a letter, at most 40 characters';
const NOT_AN_ID =
  'is not a release id: use letters, digits, ".", "_" and "-", starting with a letter or digit, at most 64 characters';
const refused: [string, z.ZodType, unknown, string][] = [
  ["name", name, "", `"" ${NOT_A_NAME}`],
  ["name", name, "Web", `"Web" ${NOT_A_NAME}`],
  ["name", name, "web\n", `"web\\n" ${NOT_A_NAME}`],
  ["name", name, "a".repeat(41), `"${"a".repeat(41)}" ${NOT_A_NAME}`],
  ["name", name, "constructor", '"constructor" is a reserved name: use another'],
  ["name", name, 3, "3 is not a text: give one"],
  ["name", name, undefined, "is missing: give a text"],
  ["releaseId", releaseId, "../v1", `"../v1" ${NOT_AN_ID}`],
  ["releaseId", releaseId, "-v1", `"-v1" ${NOT_AN_ID}`],
  ["absolutePath", absolutePath, "srv", '"srv" is not an absolute path without "..": write it from "/"'],
  ["absolutePath", absolutePath, "/a/../b", '"/a/../b" is not an absolute path without "..": write it from "/"'],
  ["absolutePath", absolutePath, "/a\u009b2J", '"/a\\u009b2J" holds a control character: remove it'],
  ["urlPath", urlPath, "/a b", '"/a b" is not a URL path: start with "/", percent-encode spaces, quotes and "#"'],
  [
    "target",
    target,
    "pool/a/b",
    '"pool/a/b" is not a target: use edge/NAME, pool/NAME, route/NAME or backend/EDGE/NAME',
  ],
];
for (const [title, schema, input, message] of refused)
  test(`${title} says what is wrong with ${JSON.stringify(input)?.slice(0, 30)}`, () => {
    assert.deepEqual(problems(schema, input), [`: ${message}`]);
  });

test("hasControl knows every character that ends a line or starts an escape sequence", () => {
  for (const text of ["\n", "\r", "\0", "\u001b", "\u007f", "\u0085", "\u009b", "\u2028", "\u2029", "\ud800"])
    assert.equal(hasControl(`a${text}b`), true, JSON.stringify(text));
  for (const text of ["", "a b", "é", "😀", "\u00a0"]) assert.equal(hasControl(text), false, text);
});

test("an agent's socket path fits a Unix socket, counted in bytes", () => {
  const socket = (length: number) => `/${"é".repeat(length)}`;
  assert.deepEqual(problems(agentOptions, { socket: socket(53) }), []);
  assert.match(problems(agentOptions, { socket: socket(54) }).join(), /too long for a Unix socket \(107 bytes\)/);
});

test("an agent's mode is three octal digits, and only its user's by default", () => {
  assert.deepEqual(agentOptions.parse({ socket: "/run/a" }), { socket: "/run/a", mode: "0600" });
  for (const mode of ["600", "0660"]) assert.deepEqual(problems(agentOptions, { socket: "/a", mode }), []);
  for (const mode of ["9", "0888", "rw", "00600", "1777"])
    assert.equal(problems(agentOptions, { socket: "/a", mode }).length, 1);
});
