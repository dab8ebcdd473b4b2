import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  factsAsEnvironment,
  fill,
  type TemplateValues,
  templateProblems,
  templatesIn,
} from "../../../src/model/process/template";

const facts: TemplateValues = {
  release: { id: "v2", path: "/srv/v2", revision: "a1b2c3" },
  process: { id: "web#1" },
  replica: { index: 1, count: 3 },
  port: 20_001,
  ports: { web: 20_000, "side-car": 20_007 },
  edge: { address: "127.0.0.1:8080" },
  hostEnv: { HOME: "/root" },
};

const filled: [string, string][] = [
  ["{{release.path}}/bin --port {{ port }}", "/srv/v2/bin --port 20001"],
  ["{{release.id}} {{release.revision}} {{process.id}}", "v2 a1b2c3 web#1"],
  ["{{replica.index}}/{{replica.count}}", "1/3"],
  ["{{ports.web}},{{ports.side-car}}", "20000,20007"],
  ["http://{{edge.address}}{{host.env.HOME}}", "http://127.0.0.1:8080/root"],
  ["{{{port}}}", "{20001}"],
  ["no template, {port} }} {", "no template, {port} }} {"],
  ["docker ps --format {{{{.Names}} {{port}}", "docker ps --format {{.Names}} 20001"],
  ["{{{{port}} {{{{", "{{port}} {{"],
];
for (const [text, result] of filled) test(`${text} is filled in`, () => assert.equal(fill(text, facts), result));

test("what is filled in is not filled in again", () => {
  assert.equal(fill("{{host.env.X}}", { ...facts, hostEnv: { X: "{{port}}" } }), "{{port}}");
});

for (const text of [
  "{{host.env.NO}}",
  "{{ports.no}}",
  "{{foo}}",
  "{{ports.constructor}}",
  "{{host.env.constructor}}",
  "{{host.env.toString}}",
  "{{}}",
])
  test(`${text} has no value`, () => {
    assert.throws(() => fill(text, facts), { message: `${text} has no value on this host` });
  });

test("templates are found in order", () => {
  assert.deepEqual(templatesIn("{{a}} {{ b }}{{{{no}}{{c"), ["a", "b"]);
});

test("a text without problems is one that can be filled in, and the other way round", () => {
  const part = fc.constantFrom(
    "{{port}}",
    "{{ports.web}}",
    "{{ports.no}}",
    "{{release.revision}}",
    "{{host.env.HOME}}",
    "{{x}}",
    "{{",
    "{{{{",
    "}}",
    "{",
    "a b",
    "{{ replica.index }}",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), fc.boolean(), fc.boolean(), (parts, hasPort, hasRevision) => {
      const text = parts.join("");
      const known = { ported: ["web"], hasPort, hasRevision };
      const here = {
        ...facts,
        port: hasPort ? 1 : undefined,
        release: { ...facts.release, revision: hasRevision ? "r" : undefined },
      };
      if (templateProblems(text, known).length === 0)
        assert.equal(fill(text, here).includes("{{"), text.includes("{{{{"));
      else if (!templateProblems(text, known).some((problem) => problem.startsWith("holds")))
        assert.throws(() => fill(text, here), /has no value/);
    }),
  );
});

test("with no port in the pool, none is offered", () => {
  assert.deepEqual(templateProblems("{{ports.x}}", { ported: [], hasPort: false, hasRevision: false }), [
    "{{ports.x}} names no process with a port: use one of none (no process of this pool has a port)",
  ]);
});

test("the same facts come as environment variables", () => {
  assert.deepEqual(factsAsEnvironment(facts), {
    SLUICE_RELEASE_ID: "v2",
    SLUICE_RELEASE_PATH: "/srv/v2",
    SLUICE_REVISION: "a1b2c3",
    SLUICE_PROCESS_ID: "web#1",
    SLUICE_REPLICA_INDEX: "1",
    SLUICE_REPLICA_COUNT: "3",
    SLUICE_PORT: "20001",
    SLUICE_EDGE_ADDRESS: "127.0.0.1:8080",
    SLUICE_PORT_WEB: "20000",
    SLUICE_PORT_SIDE_CAR: "20007",
  });
});

test("a fact that is not known is no variable", () => {
  const { SLUICE_PORT, SLUICE_REVISION } = factsAsEnvironment({
    ...facts,
    port: undefined,
    release: { id: "v", path: "/" },
  });
  assert.deepEqual([SLUICE_PORT, SLUICE_REVISION], [undefined, undefined]);
});
