import assert from "node:assert/strict";
import test from "node:test";
import { backendSpec } from "../../../src/model/edge/backend";
import { edgeSpec } from "../../../src/model/edge/edge";
import { poolSpec } from "../../../src/model/pool/pool";
import { instancesOf } from "../../../src/model/pool/pool-instances";
import { begin, finished, followed, newPool, switched } from "../../../src/model/pool/pool-promotion";
import { expectedBackend, expectedEdge, expectedPool } from "../../../src/model/protocol/live";
import { allocator, poolInput, WEB, withoutSecrets } from "../support/pools";

test("an edge should run, as declared, with each frontend open", () => {
  const bind = { port: 8080 };
  const spec = edgeSpec.parse({
    frontends: {
      web: { binds: [bind], defaultBackend: "web" },
      admin: { binds: [{ port: 8081 }], defaultBackend: "admin" },
    },
  });
  assert.deepEqual(expectedEdge(spec), {
    haproxy: "running",
    config: "as declared",
    frontends: { web: "open", admin: "open" },
  });
});

test("a backend should have its servers as declared", () => {
  const spec = backendSpec.parse({
    servers: { a: { address: "10.0.0.1", port: 80 }, b: { address: "::1", port: 81, weight: 0, state: "drain" } },
  });
  assert.deepEqual(expectedBackend(spec), {
    servers: {
      a: { address: "10.0.0.1:80", weight: 100, state: "ready" },
      b: { address: "[::1]:81", weight: 0, state: "drain" },
    },
  });
  assert.deepEqual(expectedBackend(backendSpec.parse({})), { servers: {} });
});

const processes = {
  jobs: { policy: "singleton" as const, command: ["jobs"] },
  web: { ...WEB, replicas: 2 },
  side: { policy: "companion" as const, command: ["side"], replicas: 2 },
  redis: { policy: "service" as const, command: ["redis"], port: 6379 },
};

test("a pool should serve with every replica and run every process", () => {
  const ready = { state: "ready", weight: 100 };
  assert.deepEqual(expectedPool(poolSpec.parse(poolInput({ processes }))), {
    release: "v1",
    servers: { "web#0": ready, "web#1": ready },
    processes: {
      redis: "running",
      "side#0": "running",
      "side#1": "running",
      "web#0": "running",
      "web#1": "running",
      jobs: "running",
    },
  });
});

test("what should run is what the pool's state starts", () => {
  const spec = withoutSecrets({ processes });
  const state = finished(followed(switched(begin(newPool(spec), spec, allocator()))), new Date(0));
  const keys = instancesOf("app", state).map(({ key }) => key);
  assert.deepEqual(Object.keys(expectedPool(spec).processes).toSorted(), keys.toSorted());
});
