import assert from "node:assert/strict";
import test from "node:test";
import { fromLabels, toLabels } from "../../../../src/agent/pools/launch/labels";
import type { Instance } from "../../../../src/model/pool/pool-instances";
import { processTemplate } from "../../../../src/model/process/process-template";

const instance: Instance = {
  id: "web.1.api.0",
  pool: "web",
  key: "api#0",
  process: "api",
  index: 0,
  generation: 1,
  release: { id: "v1", path: "/srv/v1" },
  port: 20_001,
  ports: {},
  inPlace: false,
  template: {
    ...processTemplate.parse({
      policy: "companion",
      command: ["api"],
      stopSignal: "SIGINT",
      gracefulStop: "2 seconds",
      nonBlockingDrain: true,
      lifecycle: { quiet: ["quiet", "{{port}}"], quietTimeout: "1.5 seconds" },
    }),
    secretEnv: {},
  },
};
const facts = {
  release: instance.release,
  process: { id: "api#0" },
  replica: { index: 0, count: 1 },
  port: instance.port,
  ports: {},
  edge: { address: "" },
  hostEnv: {},
};

test("labels are read as they were stored", () => {
  const stored = toLabels(instance, facts, { drainMs: 30_000, account: undefined });
  assert.deepEqual(fromLabels(JSON.parse(JSON.stringify(stored))), {
    pool: "web",
    key: "api#0",
    process: "api",
    policy: "companion",
    generation: 1,
    release: "v1",
    port: 20_001,
    inPlace: false,
    drainMs: 30_000,
    stopSignal: "SIGINT",
    graceMs: 2000,
    quietMs: 1500,
    workMs: 0,
    nonBlocking: true,
    handoff: false,
    commands: { quiet: ["quiet", "20001"] },
    asUser: [],
  });
});

test("labels of an earlier version are read without what it did not know", () => {
  const { pool, key, process, policy, generation, release, drainMs, stopSignal, graceMs } = toLabels(instance, facts, {
    drainMs: 0,
    account: undefined,
  });
  const early = { pool, key, process, policy, generation, release, drainMs, stopSignal, graceMs } as Record<
    string,
    string
  >;
  const { quietMs, workMs, commands, asUser, port } = fromLabels(early) ?? {};
  assert.deepEqual([quietMs, workMs, commands, asUser, port], [0, 0, {}, [], undefined]);
});

test("a process that is no pool's has none", () => {
  assert.equal(fromLabels({ edge: "main" }), undefined);
  assert.equal(fromLabels({ hookOf: "web.1.api.0", hook: "quiet" }), undefined);
});

test("damaged labels are refused, each with what is wrong", () => {
  const stored = toLabels(instance, facts, { drainMs: 0, account: undefined });
  assert.throws(
    () => fromLabels({ ...stored, policy: "any", graceMs: "soon", stopSignal: "9", commands: "{", asUser: "{}" }),
    (error: Error) => {
      assert.match(error.message, /^the labels of api#0 of pool web can't be read: policy: .+; stopSignal: /);
      assert.match(error.message, /; graceMs: is not a whole number; commands: .*JSON.*; asUser: .*expected array/);
      return true;
    },
  );
});
