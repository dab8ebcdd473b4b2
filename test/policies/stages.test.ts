import assert from "node:assert/strict";
import test from "node:test";
import { minimumRequests } from "../../policies/minimum-requests";
import { promotionGates } from "../../policies/promotion-gates";
import { promotionStages } from "../../policies/promotion-stages";
import { sliWindow } from "../../policies/sli-window";
import { sloThresholds } from "../../policies/slo-thresholds";
import type { Judged, Unsure } from "../../policies/support/judged";
import { candidateOnItsWay, judge, prometheus, routeOnItsWay, sli } from "./support/judge";

const DEFAULTS = [{ split: "1%" }, { split: "10%" }, { split: "50%" }, { split: "100%" }] as const;

test("promotion-stages: small steps pass, jumps and skipped stages are refused", () => {
  const at = (from: `${number}%`, to: `${number}%`, declared: Parameters<typeof routeOnItsWay>[2], config = {}) =>
    judge(promotionStages, "Route", routeOnItsWay(from, to, declared), { config });
  assert.deepEqual(at("0%", "100%", [...DEFAULTS]), []);
  assert.deepEqual(at("0%", "10%", [{ split: "10%" }]), []);
  assert.deepEqual(at("0%", "11%", [{ split: "11%" }]), [
    "stages[0].split: 11% is a candidate's first share, above 10%: put a smaller stage before it",
  ]);
  assert.deepEqual(at("1%", "100%", [{ split: "1%" }, { split: "100%" }]), [
    'stages[1].split: 1% to 100% is a jump by a factor of 100, above 10: put a stage such as "10%" between them',
  ]);
  assert.deepEqual(at("10%", "100%", [{ split: "1%" }, { split: "100%" }]), []);
  assert.deepEqual(at("1%", "100%", [{ split: "1%" }, { split: "100%" }], { factor: 100 }), []);
  assert.deepEqual(at("0%", "50%", [{ split: "50%" }], { first: "50%" }), []);
  assert.deepEqual(at("1%", "10%", [{ split: "1%" }, { split: "10%", window: "0 seconds" }]), [
    "stages[1].window: 0 seconds skips stage 10%: give it time to be watched, or remove the stage",
  ]);
  // Stages behind and ahead of it say nothing about this rollout.
  assert.deepEqual(
    at("10%", "50%", [
      { split: "1%", window: "0 seconds" },
      { split: "10%" },
      { split: "50%" },
      { split: "100%", window: "0 seconds" },
    ]),
    [],
  );
  assert.deepEqual(at("100%", "1%", [{ split: "1%" }, { split: "100%" }]), []);
});

test("promotion-gates: the stage before 100% must have gates, and a backend can't be put in their place", () => {
  const gated = [{ split: "1%" as const }, { split: "50%" as const, gates: [sli()] }, { split: "100%" as const }];
  assert.deepEqual(judge(promotionGates, "Route", routeOnItsWay("0%", "100%", gated)), []);
  assert.deepEqual(judge(promotionGates, "Route", routeOnItsWay("0%", "50%", [...DEFAULTS])), []);
  assert.deepEqual(judge(promotionGates, "Route", routeOnItsWay("50%", "100%", [...DEFAULTS])), [
    'stages[2].gates: stage 50% decides whether all requests go to the candidate, and has no gates: add one such as { kind: "sli", thresholds: ["5xx < 1 %"] }',
  ]);
  assert.deepEqual(
    judge(promotionGates, "Route", routeOnItsWay("0%", "100%", gated), { config: { kinds: ["parity", "soak"] } }),
    [
      'stages[1].gates: stage 50% decides whether all requests go to the candidate, and has only sli gates, and needs parity or soak: add one such as { kind: "sli", thresholds: ["5xx < 1 %"] }',
    ],
  );
  assert.deepEqual(judge(promotionGates, "Route", routeOnItsWay("0%", "100%", [{ split: "100%" }])), [
    'stages: lead to 100% without a stage before it: put one with gates there, such as { kind: "sli", thresholds: ["5xx < 1 %"] }',
  ]);
  const replaced = (had: `${number}%`) =>
    judge(
      promotionGates,
      "Route",
      routeOnItsWay("0%", "0%", [...DEFAULTS], {
        change: { kind: "promotion", from: "0%", to: "0%", stable: { from: "blue", to: "green", had, before: "blue" } },
      }),
    );
  assert.deepEqual(replaced("10%"), [
    'stable: "green" takes over from blue at once, and had 10% of the requests as the candidate: take it to 100% first',
  ]);
  assert.deepEqual(replaced("100%"), []);
});

test("sli-window: production is watched for five minutes, other stacks as they like", () => {
  const rollout = routeOnItsWay("0%", "10%", [
    { split: "1%", window: "1 minute", gates: [sli(), sli({ name: "own", window: "2 minutes" })] },
    { split: "10%", window: "5 minutes", gates: [sli()] },
    { split: "50%", window: "6 seconds", gates: [sli()] },
  ]);
  assert.deepEqual(judge(sliWindow, "Route", rollout), [
    "stages[0].gates[1].window: 2 minutes of watching says little about production: make it at least 5 minutes",
    "stages[0].window: 1 minute of watching says little about production: make it at least 5 minutes",
  ]);
  assert.deepEqual(judge(sliWindow, "Route", rollout, { config: { minimum: "1 minute" } }), []);
  assert.deepEqual(judge(sliWindow, "Route", rollout, { stack: { name: "staging" } }), []);
  assert.equal(
    judge(sliWindow, "Route", rollout, { stack: { name: "staging", config: { "sluice:production": "true" } } }).length,
    2,
  );
  const inPlace = (minRequests: number): Unsure<Judged["Pool"]> => ({
    strategy: "in-place",
    change: { kind: "promotion", from: "v1", to: "v2", order: ["v1", "v2"] },
    watch: { before: [], window: "1 minute", gates: [sli({ minRequests })] },
  });
  assert.deepEqual(judge(sliWindow, "Pool", inPlace(200)), [
    "watch.window: 1 minute of watching says little about production: make it at least 5 minutes",
  ]);
  assert.deepEqual(judge(minimumRequests, "Pool", inPlace(2)), [
    "watch.gates[0].minRequests: 2 requests say nothing: ask for at least 50",
  ]);
  const health = routeOnItsWay("0%", "1%", [{ split: "1%", window: "1 second", gates: [{ kind: "health" }] }]);
  assert.deepEqual(judge(sliWindow, "Route", health), []);
});

test("minimum-requests: a handful is no verdict, whatever counts them", () => {
  const at = (...gates: ReturnType<typeof sli>[]) =>
    judge(minimumRequests, "Route", routeOnItsWay("0%", "1%", [{ split: "1%", gates }]));
  const query = prometheus({ query: "x", must: "< 1" });
  assert.deepEqual(at(sli()), []);
  assert.deepEqual(at(sli({ minRequests: 1 })), [
    "stages[0].gates[0].minRequests: 1 request says nothing: ask for at least 50",
  ]);
  assert.equal(at(query).length, 1);
  assert.match(at(query)[0] ?? "", /^stages\[0\]\.gates\[0\]: Prometheus judges 1% without a minimum of requests: /);
  assert.deepEqual(at(query, sli({ minRequests: 50 })), []);
});

test("slo-thresholds: no gate is looser than what users are promised, and each promise is watched", () => {
  const slo = ["p95 < 500 ms", "5xx < 1 %"];
  const at = (thresholds: string[], config = {}, declared: string[] | undefined = slo) =>
    judge(
      sloThresholds,
      "Route",
      routeOnItsWay("0%", "1%", [{ split: "1%", gates: [sli({ thresholds })] }], { slo: declared }),
      { config },
    );
  assert.deepEqual(at(["p95 < 500 ms", "5xx < 0.5 %"]), []);
  assert.deepEqual(at(["p95 < 1 s", "5xx < 1 %"]), [
    'stages[0].gates[0].thresholds[0]: "p95 < 1 s" is looser than the service level "p95 < 500 ms": tighten it',
  ]);
  assert.deepEqual(at(["p95 <= 500 ms", "5xx < 1 %"]), [
    'stages[0].gates[0].thresholds[0]: "p95 <= 500 ms" is looser than the service level "p95 < 500 ms": tighten it',
  ]);
  assert.deepEqual(at(["5xx < 1 %"]), [
    'stages[0]: no gate on the way watches the service level "p95 < 500 ms": add it to the thresholds of an sli gate',
  ]);
  // A limit on a metric that is never better counts for the other.
  assert.deepEqual(at(["p99 < 400 ms", "errors < 1 %"]), []);
  assert.deepEqual(at(["5xx < 2 %"], { slo: ["5xx < 1 %"] }, []), [
    'stages[0].gates[0].thresholds[0]: "5xx < 2 %" is looser than the service level "5xx < 1 %": tighten it',
  ]);
  assert.deepEqual(at(["5xx < 2 %"], { slo: ["5xx < 1 %"] }, ["5xx < 3 %"]), []);
  const quantile = prometheus({ quantile: { metric: "m", quantile: 0.95 }, must: "< 2 s" });
  assert.deepEqual(
    judge(
      sloThresholds,
      "Route",
      routeOnItsWay("0%", "1%", [{ split: "1%", gates: [quantile] }], { slo: ["p95 < 1 s"] }),
    ),
    ['stages[0].gates[0].must: "p95 < 2 s" is looser than the service level "p95 < 1 s": tighten it'],
  );
});

test("a pool's candidate is judged like a route's, stage by stage", () => {
  const steep = candidateOnItsWay("0%", "100%", [
    { split: "20%", window: "1 minute", gates: [sli({ minRequests: 1, thresholds: ["5xx < 3 %"] })] },
    { split: "100%", window: "0 seconds" },
  ]);
  assert.deepEqual(judge(promotionStages, "Pool", steep), [
    "canary.stages[0].split: 20% is a candidate's first share, above 10%: put a smaller stage before it",
    "canary.stages[1].window: 0 seconds skips stage 100%: give it time to be watched, or remove the stage",
  ]);
  assert.deepEqual(judge(sliWindow, "Pool", steep), [
    "canary.stages[0].window: 1 minute of watching says little about production: make it at least 5 minutes",
  ]);
  assert.deepEqual(judge(minimumRequests, "Pool", steep), [
    "canary.stages[0].gates[0].minRequests: 1 request says nothing: ask for at least 50",
  ]);
  assert.deepEqual(judge(sloThresholds, "Pool", { ...steep, slo: ["5xx < 1 %"] }), [
    'canary.stages[0].gates[0].thresholds[0]: "5xx < 3 %" is looser than the service level "5xx < 1 %": tighten it',
  ]);
  assert.deepEqual(judge(promotionGates, "Pool", steep), []);
  const ungated = candidateOnItsWay("10%", "100%", [...DEFAULTS]);
  assert.deepEqual(judge(promotionGates, "Pool", ungated), [
    'canary.stages[2].gates: stage 50% decides whether all requests go to the candidate, and has no gates: add one such as { kind: "sli", thresholds: ["5xx < 1 %"] }',
  ]);
  for (const fine of [candidateOnItsWay("0%", "50%", [...DEFAULTS]), candidateOnItsWay("100%", "1%", [...DEFAULTS])])
    for (const policy of [promotionStages, promotionGates, sliWindow, minimumRequests, sloThresholds])
      assert.deepEqual(judge(policy, "Pool", fine), []);
});

test("promotion-stages: a candidate that becomes its pool's release is a step to 100%", () => {
  const finished = (share: `${number}%`) =>
    judge(promotionStages, "Pool", {
      release: { id: "v2", path: "/srv/v2" },
      change: {
        kind: "promotion",
        from: "v1",
        to: "v2",
        order: ["v1", "v2"],
        candidate: { release: "", from: share, to: "0%", finished: share },
      },
    });
  assert.deepEqual(finished("10%"), []);
  assert.deepEqual(finished("5%"), [
    'release.id: 5% to 100% is a jump by a factor of 20, above 10: put a stage such as "50%" between them',
  ]);
});

test("a route's stages without requests are judged once, by the stage that it was in", () => {
  const declared = [
    { name: "parity", split: "0%" as const, window: "0 seconds" as const },
    { name: "shadow", split: "0%" as const, mirror: "100%" as const, window: "0 seconds" as const },
    { split: "1%" as const },
  ];
  const skipped = "stages[1].window: 0 seconds skips stage shadow: give it time to be watched, or remove the stage";
  const rollout = (from: string) => {
    const route = routeOnItsWay("0%", "1%", declared);
    return judge(promotionStages, "Route", { ...route, change: { ...route.change, stage: { from, to: "1%" } } });
  };
  assert.deepEqual(rollout("parity"), [skipped]);
  assert.deepEqual(rollout("shadow"), []);
});
