import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import type { ResourceValidationArgs, ResourceValidationPolicy } from "@pulumi/policy";
import { z } from "zod";
import { policies } from "../../policies/all";
import { adapt, configSchema } from "../../policies/support/adapt";
import { known } from "../../policies/support/judged";
import { type Policy, policy } from "../../policies/support/policy";

const ROOT = path.resolve(__dirname, "../..");

interface Violation {
  message: string;
  enforcementLevel?: string;
}

const NOW = new Date("2026-06-15T12:00:00Z");

/** Violations of a policy for a resource as the engine sends it. */
async function violations(judged: Policy, props: object, config: object = {}): Promise<Violation[]> {
  const reported: Violation[] = [];
  const { validateResource } = adapt(judged, () => NOW) as ResourceValidationPolicy;
  const args = { type: "sluice:index:Pool", urn: "urn:1", props, getConfig: () => config };
  const report = (violation: unknown) => reported.push(violation as Violation);
  await (validateResource as (args: ResourceValidationArgs, report: unknown) => void)(args as never, report);
  return reported;
}

const sample = policy({
  name: "sample",
  description: "A policy for tests.",
  level: "mandatory",
  config: z.strictObject({ least: z.int().default(2).describe("Least number") }),
  judge: {
    Pool: ({ retain, edge }, { config }) => [
      { at: "retain.count", message: `${retain?.count} is below ${config.least}` },
      { message: `edge ${edge}` },
      { message: "by the way", advisory: true },
    ],
  },
});

test("a policy's findings reach the engine as one violation per level, a line each", async () => {
  assert.deepEqual(await violations(sample, { retain: { count: 1 }, edge: "main" }), [
    { message: "retain.count: 1 is below 2\nedge main" },
    { message: "by the way", enforcementLevel: "advisory" },
  ]);
});

test("a violation lists thirty findings at most, and counts the others", async () => {
  const many = policy({
    ...sample,
    judge: { Pool: () => Array.from({ length: 32 }, (_, index) => ({ message: `finding ${index}` })) },
  });
  const [violation] = await violations(many, {});
  assert.deepEqual(violation?.message.split("\n").slice(-2), ["finding 29", "and 2 more"]);
  assert.equal(violation?.message.split("\n").length, 31);
});

test("what speaks against a rollback is said, and refuses nothing", async () => {
  const props = { retain: { count: 1 }, edge: "main", change: { kind: "rollback" } };
  assert.deepEqual(await violations(sample, props), [
    { message: "retain.count: 1 is below 2\nedge main\nby the way", enforcementLevel: "advisory" },
  ]);
});

test("a config that is wrong refuses, since nothing could be judged by it", async () => {
  assert.deepEqual(await violations(sample, {}, { least: "two" }), [
    { message: 'the policy pack\'s config of sample.least: "two" is not a number: give one' },
  ]);
});

test("what a preview does not know yet is not there, and hides nothing else", () => {
  const unknown = Object.assign(new Error("can't be known during preview"), { unknownTypeSentinel: "x" });
  const props = new Proxy(
    { edge: "main", list: [1, { a: 2 }] },
    {
      get: (target, key) => {
        if (key === "later") throw unknown;
        return Reflect.get(target, key);
      },
      ownKeys: (target) => [...Reflect.ownKeys(target), "later"],
      getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    },
  );
  assert.deepEqual(known(props), { edge: "main", list: [1, { a: 2 }], later: undefined });
});

test("every policy has a name of its own, says what it is for, and describes each part of its config", () => {
  const names = policies.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, description, config } of policies) {
    assert.match(name, /^[a-z]+(?:-[a-z]+)*$/);
    assert.match(description, /^[A-Z].*\.$/);
    const { properties } = configSchema({ config });
    for (const [key, schema] of Object.entries(properties))
      assert.ok((schema as { description?: string }).description, `${name}.${key}`);
    assert.ok(config.safeParse({}).success, `${name} needs a config`);
  }
});

test("the guide tells of every policy and of each part of its config", () => {
  const guide = readFileSync(path.join(ROOT, "docs", "policies.md"), "utf8");
  for (const { name, config } of policies) {
    assert.ok(guide.includes(`\`${name}\``), `docs/policies.md does not tell of ${name}`);
    for (const key of Object.keys(config.shape))
      assert.ok(guide.includes(`\`${key}\``), `docs/policies.md does not tell of ${name}.${key}`);
  }
});

test("the pack has the version of Sluice", () => {
  const version = (file: string) => JSON.parse(readFileSync(path.join(ROOT, file), "utf8")).version;
  assert.equal(version("policies/package.json"), version("package.json"));
  const project = readFileSync(path.join(ROOT, "policies", "PulumiPolicy.yaml"), "utf8");
  assert.match(project, new RegExp(`^version: ${version("package.json")}$`, "m"));
});

test("the example of the guide is a config that every policy takes", () => {
  const guide = readFileSync(path.join(ROOT, "docs", "policies.md"), "utf8");
  const [, json = ""] = /```json\n([\s\S]*?)```/.exec(guide) ?? [];
  for (const [name, given] of Object.entries(JSON.parse(json) as Record<string, unknown>)) {
    const found = policies.find((one) => one.name === name);
    assert.ok(found, name);
    if (typeof given === "string") continue;
    const { enforcementLevel: _level, ...config } = given as Record<string, unknown>;
    const parsed = found.config.safeParse(config);
    assert.ok(parsed.success, `${name}: ${parsed.error?.message}`);
  }
});
