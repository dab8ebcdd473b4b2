import assert from "node:assert/strict";
import test from "node:test";
import { ErrorShares } from "../../../src/agent/haproxy/error-shares";
import { withinDrain } from "../../../src/agent/haproxy/runtime/server-assignments";
import { backendSpec } from "../../../src/model/edge/backend";

test("a considerable share of errors is told for a minute, over a reload too, and not on little traffic", () => {
  let now = 0;
  const shares = new ErrorShares(() => now);
  const saw = (answered: number, failed: number) => {
    now += 3000;
    shares.saw(new Map([["web", { weight: 1, answered, failed }]]));
  };
  saw(1000, 1000);
  assert.deepEqual(shares.considerable(), {});
  saw(1019, 1019);
  assert.deepEqual(shares.considerable(), {});
  saw(1020, 1020);
  assert.deepEqual(shares.considerable(), { web: { answered: 20, failed: 20 } });
  // Another worker counts from 0.
  saw(180, 0);
  assert.deepEqual(shares.considerable(), { web: { answered: 200, failed: 20 } });
  saw(181, 0);
  assert.deepEqual(shares.considerable(), {});
  saw(191, 10);
  assert.deepEqual(shares.considerable(), { web: { answered: 211, failed: 30 } });
  now += 60_000;
  assert.deepEqual(shares.considerable(), {});
});

test("a clock that was set back gives a server that leaves no more than its drain", () => {
  const spec = backendSpec.parse({ servers: {}, drainDeadline: "1 minute" });
  const server = { backend: "web", id: "a", address: "127.0.0.1", port: 1, deadline: 3_660_000 };
  assert.equal(withinDrain(server, spec, 3_600_000).deadline, 3_660_000);
  assert.equal(withinDrain(server, spec, 0).deadline, 60_000);
  assert.equal(withinDrain({ ...server, deadline: 8.64e15 }, spec, 0).deadline, 8.64e15);
});
