import assert from "node:assert/strict";
import test from "node:test";
import { DEFAULT_LEASE_MS, openRequest, PHASES, step } from "../../../src/model/protocol/transaction";
import { poolInput, problems } from "../support/pools";

const owner = { who: "ana@build-7", why: "urn:pulumi:demo::pool", pid: 7 };

test("a lease has a default and bounds", () => {
  assert.equal(openRequest.parse({ target: "pool/web", owner }).leaseMs, DEFAULT_LEASE_MS);
  assert.deepEqual(problems(openRequest, { target: "pool/web", owner, leaseMs: 1 }), [
    "leaseMs: 1 is out of range: use at least 500",
  ]);
});

test("a transaction's holder is one line, since others read it", () => {
  assert.deepEqual(problems(openRequest, { target: "pool/web", owner: { who: "a\u001b[2J", why: "x\ny", pid: 0 } }), [
    'owner.who: "a\\u001b[2J" holds a control character: remove it',
    'owner.why: "x\\ny" holds a control character: remove it',
    "owner.pid: 0 is out of range: use at least 1",
  ]);
  assert.deepEqual(problems(openRequest, {}), ["target: is missing: give a text", "owner: is missing: give an object"]);
});

test("an unknown verb is refused with those that exist", () => {
  const verbs =
    '"edge.set", "edge.remove", "backend.set", "backend.remove", "server.drain", "server.enable", "pool.start", "pool.switch", "pool.follow", "pool.share", "pool.withdraw", "pool.remove", "route.set", "route.remove"';
  assert.deepEqual(problems(step, { verb: "pool.stop" }), [`verb: "pool.stop" is not known here: use one of ${verbs}`]);
  assert.deepEqual(problems(step, {}), [`verb: nothing is not known here: use one of ${verbs}`]);
  assert.deepEqual(problems(step, 5), [": 5 is not an object: give one"]);
});

test("a step's names and specs are checked as everywhere", () => {
  assert.deepEqual(problems(step, { verb: "pool.start", pool: "../x", spec: { ...poolInput(), edge: "A" } }).length, 2);
  assert.deepEqual(problems(step, { verb: "pool.switch", pool: "web", force: true }), [
    ': "force" does not exist here: remove it, or check its spelling',
  ]);
  const request = { verb: "pool.start", pool: "web", spec: poolInput(), secrets: { web: ["TOKEN"] } };
  assert.deepEqual(problems(step, request), []);
});

test("the phases of a promotion are listed once, in order", () => {
  assert.deepEqual(PHASES, ["open", "start", "healthy", "switch", "follow", "commit", "retire"]);
});

test("a target has names that resources may have", () => {
  for (const target of ["edge/main", "pool/web", "backend/main/api"])
    assert.equal(openRequest.parse({ target, owner }).target, target);
  for (const target of [
    "pool/constructor",
    "backend/main/constructor",
    "pool/web/x",
    "backend/main",
    "host/a",
    "pool/",
    "",
  ])
    assert.deepEqual(problems(openRequest, { target, owner }), [
      `target: "${target}" is not a target: use edge/NAME, pool/NAME, route/NAME or backend/EDGE/NAME`,
    ]);
});
