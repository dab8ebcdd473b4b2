import assert from "node:assert/strict";
import test from "node:test";
import { type PoolInput, poolSpec } from "../../model/pool";
import { promotionPlan } from "../../model/promotion-plan";
import { poolInput, WEB } from "./support/pools";

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
    "promotes v1 -> v2, side by side: web#0 start beside what serves",
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
    "the other processes go on as they are",
  ]);
});

test("settings are live, and the order of keys is no change", () => {
  const live = ["applied live: no process is restarted"];
  assert.deepEqual(promotionPlan(pool("v1"), pool("v1", { stopSignal: "SIGINT", gracefulStop: "1 minute" })), live);
  const ordered = pool("v1", { env: { A: "1", B: "2" } });
  const { policy, ...rest } = pool("v1", { env: { B: "2", A: "1" } }).processes.web ?? assert.fail();
  assert.deepEqual(promotionPlan(ordered, { ...ordered, processes: { web: { ...rest, policy } } }), live);
});
