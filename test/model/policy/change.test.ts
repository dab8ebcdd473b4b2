import assert from "node:assert/strict";
import test from "node:test";
import { type PoolChange, poolChange, type RouteChange, routeChange } from "../../../src/model/policy/change";
import { poolSpec } from "../../../src/model/pool/pool";
import { checkedCanary } from "../../../src/model/pool/pool-share";
import { stages } from "../../../src/model/route/stages";

function pool(id: string, changes: object = {}, env: Record<string, string> = {}) {
  const web = { policy: "proxied", command: ["web"], health: { path: "/" }, env };
  return poolSpec.parse({
    edge: "main",
    release: { id, path: `/srv/${id}` },
    ports: { from: 20_000, to: 20_010 },
    processes: { web },
    ...changes,
  });
}

test("a pool's promotion is told from its rollback, over many releases", () => {
  let before: (ReturnType<typeof pool> & { change: PoolChange }) | undefined;
  const kinds = ["v1", "v2", "v2", "v1", "v2", "v3", "v1", "v4", "v3"].map((id) => {
    const next = pool(id);
    const change = poolChange(before, next);
    before = { ...next, change };
    return change.kind;
  });
  assert.deepEqual(kinds, [
    "create",
    "promotion",
    "none",
    "rollback",
    // v2 once more is no way back: v1 was there first.
    "promotion",
    "promotion",
    "rollback",
    "promotion",
    "rollback",
  ]);
  assert.deepEqual(before?.change.order, ["v1", "v2", "v3", "v4"]);
});

test("a pool that starts anew is told apart from one that changes live, and from one of an earlier version", () => {
  const kind = (after: ReturnType<typeof pool>) => poolChange(pool("v1"), after).kind;
  assert.equal(kind(pool("v1")), "none");
  assert.equal(kind(pool("v1", { drainDeadline: "2 minutes" })), "none");
  assert.equal(kind(pool("v1", {}, { A: "1" })), "restart");
  assert.equal(kind(pool("v1", { release: { id: "v1", path: "/srv/other" } })), "restart");
  assert.deepEqual(poolChange(pool("v1"), pool("v2")), {
    kind: "promotion",
    from: "v1",
    to: "v2",
    order: ["v1", "v2"],
  });
});

test("of a pool that an agent has, the order of its releases tells a way back", () => {
  const kind = (id: string) => poolChange({ ...pool("v2"), change: { order: ["v1", "v2", "v3"] } }, pool(id)).kind;
  assert.deepEqual(["v1", "v2", "v3", "v4"].map(kind), ["rollback", "none", "promotion", "promotion"]);
});

test("a pool's candidate goes forward, back, becomes the release, or begins anew", () => {
  const withCandidate = (id: string, share: `${number}%`, env: Record<string, string> = {}) => {
    const release = { id: "v2", path: "/srv/v2" };
    const canary = { ...checkedCanary.parse({ release, stage: share === "0%" ? "stable" : share }), release };
    return { ...pool(id, {}, env), canary };
  };
  const poolSummary = (before: Parameters<typeof poolChange>[0], after: Parameters<typeof poolChange>[1]) => {
    const { kind, candidate } = poolChange(before, after);
    return [kind, candidate?.from, candidate?.to, candidate?.finished];
  };
  assert.deepEqual(poolSummary(pool("v1"), withCandidate("v1", "10%")), ["promotion", "0%", "10%", undefined]);
  assert.deepEqual(poolSummary(withCandidate("v1", "10%"), withCandidate("v1", "1%")), [
    "rollback",
    "10%",
    "1%",
    undefined,
  ]);
  assert.deepEqual(poolSummary(withCandidate("v1", "10%"), pool("v1")), ["rollback", "10%", "0%", undefined]);
  assert.deepEqual(poolSummary(withCandidate("v1", "10%"), pool("v2")), ["promotion", "10%", "0%", "10%"]);
  // Other processes are another candidate, which begins without requests.
  assert.deepEqual(poolSummary(withCandidate("v1", "10%"), withCandidate("v1", "10%", { A: "1" })), [
    "restart",
    "0%",
    "10%",
    undefined,
  ]);
  // A release that never served does not come in with a rollback.
  const back = { ...pool("v1"), change: { order: ["v0", "v1"] } };
  assert.deepEqual(poolSummary(back, withCandidate("v0", "10%")), ["promotion", "0%", "10%", undefined]);
  assert.deepEqual(poolSummary(back, pool("v0")), ["rollback", undefined, undefined, undefined]);
});

function route(stable: string, stage: string, candidate?: string) {
  return { stages: stages.parse(undefined), stable, stage, candidate };
}

test("a route's stages without requests, and its copies, have a way up and down too", () => {
  const declared = stages.parse([
    { name: "parity", split: "0%" },
    { name: "shadow", split: "0%", mirror: "100%" },
    { split: "1%" },
  ]);
  const at = (stage: string, share: `${number}%` = "0%", to = "green") => ({
    ...route("blue", stage, "green"),
    stages: declared,
    mirror: { to, share },
  });
  const routeSummary = (before: Parameters<typeof routeChange>[0], after: Parameters<typeof routeChange>[1]) => {
    const { kind, stage, mirrored } = routeChange(before, after);
    return [kind, stage.from, stage.to, mirrored.from, mirrored.to];
  };
  assert.deepEqual(routeSummary(undefined, at("stable")), ["create", "stable", "stable", "0%", "0%"]);
  assert.deepEqual(routeSummary(undefined, at("shadow")), ["promotion", "stable", "shadow", "0%", "100%"]);
  assert.deepEqual(routeSummary(undefined, at("stable", "10%")), ["promotion", "stable", "stable", "0%", "10%"]);
  assert.deepEqual(routeSummary(at("stable"), at("parity")), ["promotion", "stable", "parity", "0%", "0%"]);
  assert.deepEqual(routeSummary(at("parity"), at("shadow")), ["promotion", "parity", "shadow", "0%", "100%"]);
  assert.deepEqual(routeSummary(at("shadow"), at("1%")), ["promotion", "shadow", "1%", "100%", "0%"]);
  // Its requests go back, whatever is copied then.
  assert.deepEqual(routeSummary(at("1%"), at("shadow")), ["rollback", "1%", "shadow", "0%", "100%"]);
  assert.deepEqual(routeSummary(at("shadow"), at("stable")), ["rollback", "shadow", "stable", "100%", "0%"]);
  assert.deepEqual(routeSummary(at("stable", "1%"), at("stable", "10%")), [
    "promotion",
    "stable",
    "stable",
    "1%",
    "10%",
  ]);
  assert.deepEqual(routeSummary(at("stable", "10%"), at("stable", "1%")), [
    "rollback",
    "stable",
    "stable",
    "10%",
    "1%",
  ]);
  assert.deepEqual(routeSummary(at("stable", "10%"), at("stable", "10%", "red")), [
    "promotion",
    "stable",
    "stable",
    "0%",
    "10%",
  ]);
});

test("a route's way up, down, and to another stable backend are told apart", () => {
  let before: (ReturnType<typeof route> & { change: RouteChange }) | undefined;
  const stableSummary = (next: ReturnType<typeof route>) => {
    const change = routeChange(before, next);
    before = { ...next, change };
    return [change.kind, change.from, change.to, change.stable.had];
  };
  assert.deepEqual(stableSummary(route("blue", "stable", "green")), ["create", "0%", "0%", "0%"]);
  assert.deepEqual(stableSummary(route("blue", "10%", "green")), ["promotion", "0%", "10%", "100%"]);
  assert.deepEqual(stableSummary(route("blue", "10%", "red")), ["promotion", "0%", "10%", "90%"]);
  assert.deepEqual(stableSummary(route("blue", "1%", "red")), ["rollback", "10%", "1%", "90%"]);
  assert.deepEqual(stableSummary(route("blue", "100%", "red")), ["promotion", "1%", "100%", "99%"]);
  // Red has all requests already: to call it stable moves nobody.
  assert.deepEqual(stableSummary(route("red", "stable")), ["none", "0%", "0%", "100%"]);
  assert.deepEqual(stableSummary(route("red", "stable", "green")), ["none", "0%", "0%", "100%"]);
  assert.deepEqual(stableSummary(route("blue", "stable", "green")), ["rollback", "0%", "0%", "0%"]);
  assert.deepEqual(stableSummary(route("green", "stable")), ["promotion", "0%", "0%", "0%"]);
  // Back to the rollout that ended with it: as the candidate it has all requests at first.
  assert.deepEqual(stableSummary(route("blue", "10%", "green")), ["rollback", "100%", "10%", "0%"]);
});
