import assert from "node:assert/strict";
import test from "node:test";
import { until } from "../../support/until";
import { startLoad, TestEdge, upstream, web } from "./support/edge";

test("an edge without its backend answers 503 in JSON, and serves once the backend exists", async (t) => {
  const testEdge = await TestEdge.open(t);
  const up = await upstream(t, "a");
  assert.deepEqual((await testEdge.haproxy.plan(testEdge.spec(), {})).how, "start");
  assert.equal((await testEdge.haproxy.apply(testEdge.spec(), {})).how, "start");
  const none = await fetch(`http://127.0.0.1:${testEdge.port}/`);
  assert.equal(none.status, 503);
  assert.equal(none.headers.get("retry-after"), "1");
  assert.deepEqual(await none.json(), { error: "no server can answer this request now: try again" });
  const backends = web({ a: up.port });
  const plan = await testEdge.haproxy.plan(testEdge.spec(), backends);
  assert.equal(plan.how, "reload");
  assert.deepEqual(plan.reasons, ["backends.web added"]);
  assert.equal((await testEdge.haproxy.apply(testEdge.spec(), backends)).how, "reload");
  assert.equal((await testEdge.haproxy.apply(testEdge.spec(), backends)).how, "nothing");
  const some = await fetch(`http://127.0.0.1:${testEdge.port}/`);
  assert.equal(some.status, 200);
  const observed = await testEdge.haproxy.observe();
  assert.equal(observed.workerRunsFile, true);
  assert.equal(observed.file, "ours");
  assert.deepEqual(Object.keys(observed.backends), ["web"]);
});

test("servers are added and removed under load without a failed request", async (t) => {
  const testEdge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  await testEdge.haproxy.apply(testEdge.spec(), web({ a: a.port }));
  const load = startLoad(testEdge.port);
  await until("requests on a", () => a.requests > 20);
  const took: number[] = [];
  for (let round = 0; round < 10; round++) {
    const [to, from] = round % 2 === 0 ? [b, a] : [a, b];
    const before = to.requests;
    const startedAt = performance.now();
    const { how } = await testEdge.haproxy.apply(testEdge.spec(), web({ a: to.port }));
    assert.equal(how, "runtime");
    await until("requests on the new server", () => to.requests > before, { intervalMs: 1 });
    took.push(Math.round(performance.now() - startedAt));
    await until("the old server is unused", async () => {
      const { connections, mayReceive } = await testEdge.haproxy.connections("127.0.0.1", from.port);
      return connections === 0 && !mayReceive;
    });
    const after = from.requests;
    await until("more requests", () => to.requests > before + 20);
    assert.equal(from.requests, after);
  }
  await until(
    "only one server is left",
    async () => Object.keys((await testEdge.haproxy.observe()).backends.web ?? {}).length === 1,
  );
  await load.stop();
  t.diagnostic(
    `apply to first request: ${took.join(", ")} ms; ${load.requests} requests; connections ${a.connections}+${b.connections}`,
  );
  assert.deepEqual(load.failures, []);
});
