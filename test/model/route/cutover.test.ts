import assert from "node:assert/strict";
import test from "node:test";
import {
  type CutoverPlan,
  cutoverStage,
  cutoverStages,
  readServingGates,
  serviceLevel,
} from "../../../src/model/route/cutover";
import { declaredRoute } from "../../../src/model/route/route";

const PLAN: CutoverPlan = {
  parity: { upstreamUrl: "http://old", candidateUrl: "http://new", requests: "r.jsonl" },
  slo: { p99: "1 second" },
};

test("a cutover is stages of a route: each is valid, held, and judged by its share or its copies", () => {
  const window = { shadow: "24 hours", "50%": "1 hour" } as const;
  const { stages } = declaredRoute.parse({
    edges: ["main"],
    stable: "old",
    candidate: "new",
    mirror: { to: "new", share: "0%" },
    stages: cutoverStages({ ...PLAN, window, shadow: "20%", minRequests: 1000 }),
  });
  assert.deepEqual(
    stages.map(({ name, split, window: held, mirror, gates }) => [
      name,
      split,
      held,
      mirror,
      gates.map((gate) => `${gate.name ?? gate.kind}${"source" in gate ? `/${gate.source}` : ""}`).join(" "),
    ]),
    [
      ["parity", "0%", "0 seconds", undefined, "parity"],
      ["shadow", "0%", "24 hours", "20%", "shadow/mirror ready"],
      ["1%", "1%", "5 minutes", undefined, "service level/meter ready"],
      ["10%", "10%", "5 minutes", undefined, "service level/meter ready"],
      ["50%", "50%", "1 hour", undefined, "service level/meter ready"],
      ["100%", "100%", "5 minutes", undefined, "service level/meter ready"],
    ],
  );
  for (const { gates } of stages)
    for (const gate of gates) if ("minRequests" in gate) assert.equal(gate.minRequests, 1000);
  const one = cutoverStages({ ...PLAN, window: "7 minutes" }).map((stage) => stage.window);
  assert.deepEqual(one, ["0 seconds", ...Array.from({ length: 5 }, () => "7 minutes")]);
});

test("figures that the new system reports are watched if they are declared", () => {
  assert.deepEqual(serviceLevel({ slo: { p99: "300 milliseconds", errors: "0.05%" } }), [
    "errors < 0.05 %",
    "p99 < 300 ms",
  ]);
  const prometheus = "http://127.0.0.1:9090";
  const gates = readServingGates(
    {
      slo: { p99: "1 second" },
      interval: "1 second",
      saturation: { prometheus, query: "pool_used / pool_size", must: "< 80 %" },
      snapshotAge: { prometheus, query: "time() - snapshot_time", must: "< 900 s" },
      refresh: { http: "http://new/refresh", contains: "ok" },
    },
    "meter",
  );
  const common = { interval: "1 second" };
  assert.deepEqual(gates.slice(2), [
    {
      ...common,
      kind: "sli",
      source: "prometheus",
      name: "saturation",
      url: prometheus,
      query: "pool_used / pool_size",
      must: "< 80 %",
    },
    {
      ...common,
      kind: "sli",
      source: "prometheus",
      name: "snapshot age",
      url: prometheus,
      query: "time() - snapshot_time",
      must: "< 900 s",
    },
    { ...common, kind: "http", name: "refresh", url: "http://new/refresh", contains: "ok" },
  ]);
});

test("a stage that is none is refused with those that are", () => {
  assert.equal(cutoverStage("50%"), "50%");
  assert.throws(
    () => cutoverStage("0%"),
    /^Error: "0%" is not a stage of a cutover: use one of "stable", "parity", "shadow", "1%", "10%", "50%", "100%", "decommissioned"$/,
  );
});
