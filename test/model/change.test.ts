import assert from "node:assert/strict";
import test from "node:test";
import { type PoolChange, poolChange, type RouteChange, routeChange } from "../../model/change";
import { poolSpec } from "../../model/pool";
import { stages } from "../../model/stages";

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

test("a pool's way is told apart from its way back, over many releases", () => {
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

function route(stable: string, stage: string, candidate?: string) {
  return { stages: stages.parse(undefined), stable, stage, candidate };
}

test("a route's way up, down, and to another stable backend are told apart", () => {
  let before: (ReturnType<typeof route> & { change: RouteChange }) | undefined;
  const told = (next: ReturnType<typeof route>) => {
    const change = routeChange(before, next);
    before = { ...next, change };
    return [change.kind, change.from, change.to, change.stable.had];
  };
  assert.deepEqual(told(route("blue", "stable", "green")), ["create", "0%", "0%", "0%"]);
  assert.deepEqual(told(route("blue", "10%", "green")), ["promotion", "0%", "10%", "100%"]);
  assert.deepEqual(told(route("blue", "10%", "red")), ["promotion", "0%", "10%", "90%"]);
  assert.deepEqual(told(route("blue", "1%", "red")), ["rollback", "10%", "1%", "90%"]);
  assert.deepEqual(told(route("blue", "100%", "red")), ["promotion", "1%", "100%", "99%"]);
  // Red has all requests already: to call it stable moves nobody.
  assert.deepEqual(told(route("red", "stable")), ["none", "0%", "0%", "100%"]);
  assert.deepEqual(told(route("red", "stable", "green")), ["none", "0%", "0%", "100%"]);
  assert.deepEqual(told(route("blue", "stable", "green")), ["rollback", "0%", "0%", "0%"]);
  assert.deepEqual(told(route("green", "stable")), ["promotion", "0%", "0%", "0%"]);
  // Back to the walk that ended with it: as the candidate it has all requests at first.
  assert.deepEqual(told(route("blue", "10%", "green")), ["rollback", "100%", "10%", "0%"]);
});
