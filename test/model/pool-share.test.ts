import assert from "node:assert/strict";
import test from "node:test";
import { poolChange } from "../../model/change";
import { checkedCanary, type PoolCanaryInput, poolCanary } from "../../model/pool-share";
import {
  begin,
  finished,
  followed,
  instancesOf,
  newPool,
  type PoolState,
  poolState,
  releaseOfServer,
  shared,
  shareIn,
  switched,
  takenPorts,
} from "../../model/pool-state";
import { allocator, problems, splitSpec, WEB } from "./support/pools";

const NOW = new Date("2026-11-21T12:00:00Z");
const release = (id: string) => ({ id, path: `/srv/app/${id}` });
const spec = (id: string) => splitSpec({ release: release(id), processes: { web: WEB } });
const share = { split: 1000, sticky: { by: "none" as const } };

function started(state: PoolState, id: string, canary?: string): PoolState {
  const taken = takenPorts(state).map(({ port }) => port);
  const options = canary === undefined ? {} : { canary: release(canary) };
  return begin(state, spec(id), allocator(taken), options);
}

/** A pool whose release is v1, with v2 on a share of its requests. */
function trying(): PoolState {
  const first = finished(followed(switched(started(newPool(spec("v1")), "v1"))), NOW);
  return finished(shared(followed(switched(started(first, "v1", "v2"))), share), NOW);
}

const ids = (state: PoolState) => instancesOf("web", state).map(({ id }) => id);

test("a release that is tried runs beside the stable one, and its share names both generations", () => {
  const state = trying();
  assert.deepEqual(ids(state), ["web.1.web.0", "web.2.web.0"]);
  assert.deepEqual(shareIn("web", state), { ...share, key: "web.candidate/1/2" });
  assert.equal(state.canary?.since, NOW.toISOString());
  assert.equal(releaseOfServer(state, "web-2-0"), "v2");
  assert.deepEqual(poolState.parse(JSON.parse(JSON.stringify(state))), state);
  assert.equal(new Set(takenPorts(state).map(({ port }) => port)).size, 2);
});

test("finishing takes its generation over, and its share until the switch", () => {
  const begun = started(trying(), "v2");
  assert.deepEqual(ids(begun), ["web.1.web.0", "web.2.web.0"]);
  assert.deepEqual(shareIn("web", begun), { ...share, key: "web.candidate/1/2" });
  assert.equal(shareIn("web", switched(begun)), undefined);
  const done = finished(followed(switched(begun)), NOW);
  assert.deepEqual(ids(done), ["web.2.web.0"]);
  assert.deepEqual([done.canary, done.outgoing, done.lastGeneration], [undefined, undefined, 2]);
  assert.deepEqual(
    done.retained.map(({ release: { id } }) => id),
    ["v1"],
  );
});

test("one that is given up, or replaced, runs until the commit and gets nothing any more", () => {
  const given = started(trying(), "v1");
  assert.deepEqual(ids(given), ["web.1.web.0", "web.2.web.0"]);
  assert.equal(shareIn("web", given), undefined);
  assert.deepEqual(ids(finished(followed(switched(given)), NOW)), ["web.1.web.0"]);
  const other = started(trying(), "v1", "v3");
  assert.deepEqual(ids(other), ["web.1.web.0", "web.2.web.0", "web.3.web.0"]);
  assert.equal(shareIn("web", other), undefined);
  assert.deepEqual(ids(finished(followed(switched(other)), NOW)), ["web.1.web.0", "web.3.web.0"]);
});

test("a policy is told how a candidate's share changes", () => {
  const canary = (stage: string): PoolCanaryInput => ({ release: release("v2"), stage });
  const pool = (id: string, tried?: PoolCanaryInput) => ({
    ...spec(id),
    ...(tried === undefined ? {} : { canary: poolCanary.parse(tried) }),
  });
  const told = (before: ReturnType<typeof pool>, after: ReturnType<typeof pool>) => {
    const { kind, candidate } = poolChange(before, after);
    return [kind, candidate];
  };
  assert.deepEqual(told(pool("v1"), pool("v1")), ["none", undefined]);
  assert.deepEqual(told(pool("v1"), pool("v1", canary("10%"))), [
    "promotion",
    { release: "v2", from: "0%", to: "10%" },
  ]);
  assert.deepEqual(told(pool("v1", canary("50%")), pool("v1", canary("1%"))), [
    "rollback",
    { release: "v2", from: "50%", to: "1%" },
  ]);
  assert.deepEqual(told(pool("v1", canary("100%")), pool("v2")), [
    "promotion",
    { release: "", from: "100%", to: "0%" },
  ]);
});

test("what is wrong with a candidate is said with its path", () => {
  assert.deepEqual(problems(checkedCanary, { release: release("v2"), stage: "5%" }), [
    'stage: "5%" is not a stage: use one of "stable", "1%", "10%", "50%", "100%"',
  ]);
  const stages = [{ split: "0%", name: "shadow", mirror: "5%" }, { split: "100%" }];
  assert.deepEqual(problems(checkedCanary, { release: release("v2"), stages }), [
    "stages.0.split: 0% gives the candidate nothing, and it would not run: begin with a share, or use a Route",
    "stages.0.mirror: is a Route's: use one to mirror requests to another pool",
  ]);
});
