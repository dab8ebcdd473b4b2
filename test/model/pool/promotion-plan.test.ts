import assert from "node:assert/strict";
import test from "node:test";
import { type PoolInput, poolSpec } from "../../../src/model/pool/pool";
import { promotionPlan } from "../../../src/model/pool/promotion-plan";
import { poolInput, WEB } from "../support/pools";

const pool = (id: string, web: object = {}, others: PoolInput["processes"] = {}) =>
  poolSpec.parse(poolInput({ release: { id, path: `/srv/${id}` }, processes: { web: { ...WEB, ...web }, ...others } }));
const HEALTH = "web must answer GET /healthz well within 1 minute of its start";
const SWITCH = "the edge switches by its runtime API; no request is dropped";
const UNDO = "if anything fails before the end, everything is put back as it was and the update fails";

test("a new pool starts its processes, in their order", () => {
  const others: PoolInput["processes"] = {
    jobs: { policy: "singleton", command: ["x"] },
    side: { policy: "companion", command: ["x"] },
    redis: { policy: "service", command: ["x"] },
  };
  assert.deepEqual(promotionPlan(undefined, pool("v1", { replicas: 2 }, others)), [
    "starts release v1: redis, side#0, web#0, web#1, jobs",
    HEALTH,
  ]);
});

test("another release is promoted side by side", () => {
  assert.deepEqual(promotionPlan(pool("v1"), pool("v2", {}, { jobs: { policy: "singleton", command: ["x"] } })), [
    "promotes v1 -> v2, side by side: web#0 start beside the release that serves",
    HEALTH,
    SWITCH,
    "jobs: the old one stops before the new one starts",
    "v1 drains up to 1 minute in the background, then stops",
    UNDO,
  ]);
});

const anew: [string, ReturnType<typeof pool>, string][] = [
  ["the environment", pool("v1", { env: { A: "1" } }), "web"],
  ["the path", { ...pool("v1"), release: { id: "v1", path: "/srv/other" } }, "release.path"],
  ["the revision", { ...pool("v1"), release: { id: "v1", path: "/srv/v1", revision: "abc" } }, "release.revision"],
  ["a process more", pool("v1", {}, { side: { policy: "companion", command: ["x"] } }), "side"],
];
for (const [what, after, subject] of anew)
  test(`a change of ${what} starts the release anew`, () => {
    assert.match(
      promotionPlan(pool("v1"), after)[0] ?? "",
      new RegExp(`^starts release v1 anew, since ${subject} changed, side by side:`),
    );
  });

test("scaling is live", () => {
  assert.deepEqual(promotionPlan(pool("v1"), pool("v1", { replicas: 3 })), [
    "web: 1 -> 3 replicas, live",
    "no process that stays is restarted",
  ]);
});

test("settings are live, each by its name", () => {
  const settings = {
    stopSignal: "SIGINT",
    gracefulStop: "1 minute",
    lifecycle: { drainTimeout: "1 minute" },
    restart: { maxRestarts: 1 },
    output: { keep: 3 },
    outputLines: 20,
  };
  assert.deepEqual(promotionPlan(pool("v1"), pool("v1", { replicas: 2, ...settings })), [
    "web: 1 -> 2 replicas, stopSignal, gracefulStop, lifecycle, restart, output, outputLines, live",
    "no process that stays is restarted",
  ]);
  const memory = { limit: "1 GiB" };
  assert.equal(promotionPlan(pool("v1", { replicas: 2 }), pool("v1", { replicas: 2, memory }))[0], "web: memory, live");
});

test("the order of keys is no change", () => {
  const ordered = pool("v1", { env: { A: "1", B: "2" } });
  const { policy, ...rest } = pool("v1", { env: { B: "2", A: "1" } }).processes.web ?? assert.fail();
  assert.deepEqual(promotionPlan(ordered, { ...ordered, processes: { web: { ...rest, policy } } }), [
    "applied live: no process is restarted",
  ]);
});

test("what a promotion means for services is said", () => {
  const redis = (port: number, parts: object = {}): PoolInput["processes"] => ({
    redis: { policy: "service", command: ["redis-server", "--port", String(port)], ...parts },
  });
  const line = (before: PoolInput["processes"], after: PoolInput["processes"]) =>
    promotionPlan(pool("v1", {}, before), pool("v2", {}, after)).filter((each) => each.startsWith("redis"));
  assert.deepEqual(line(redis(1), redis(1)), []);
  assert.deepEqual(line(redis(1), redis(2)), ["redis goes on as it is: its change is in force from its next restart"]);
  const handoff = { port: 6379, handoff: true };
  assert.deepEqual(line(redis(1, handoff), redis(1, handoff)), [
    "redis: the new one takes its port over before the old one leaves",
  ]);
});

test("a service that is down is started, whatever else is said of it", () => {
  const redis = (version: string): PoolInput["processes"] => ({
    redis: { policy: "service", command: ["redis", version] },
  });
  const down = [
    { process: "redis", key: "redis", state: "failed" },
    { process: "gone", key: "gone", state: "backoff" },
  ] as const;
  const lines = (after: string, command: string) =>
    promotionPlan(pool("v1", {}, redis("1")), pool(after, {}, redis(command)), down).filter((each) =>
      /redis|gone|live/.test(each),
    );
  assert.deepEqual(lines("v2", "2"), ["redis is down (failed): v2's template starts it"]);
  assert.deepEqual(lines("v1", "1"), [
    "applied live: no process is restarted",
    "redis is down (failed): v1's template starts it",
  ]);
});

const kinds: [object, string][] = [
  [{ path: "/up" }, "answer GET /up well"],
  [{ tcp: true }, "take connections on its port"],
  [{ command: ["bin/check", "it"] }, "pass its check bin/check"],
  [{ line: "ready to go" }, 'print "ready to go"'],
];
for (const [health, expected] of kinds)
  test(`health by ${Object.keys(health)[0]} is said`, () =>
    assert.equal(
      promotionPlan(undefined, pool("v1", { health: { ...health, deadline: "5 seconds" } }))[1],
      `web must ${expected} within 5 seconds of its start`,
    ));
