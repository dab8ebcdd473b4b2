import assert from "node:assert/strict";
import test from "node:test";
import { until } from "../../support/until";
import { RawClient, TestEdge, upstream, web } from "./support/edge";

async function heldResponse(port: number): Promise<RawClient> {
  const client = await RawClient.open(port);
  client.send("GET /hold HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  await client.until("first ");
  return client;
}

async function serverIds(edge: TestEdge): Promise<string[]> {
  return Object.keys((await edge.haproxy.observe()).backends.web ?? {});
}

test("a server that leaves finishes its response and its WebSocket, and is then removed", async (t) => {
  const edge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const response = await heldResponse(edge.port);
  const socket = await RawClient.open(edge.port);
  t.after(() => socket.close());
  await socket.upgrade();
  await edge.haproxy.apply(edge.spec(), web({ b: b.port }));
  const leaving = (await edge.haproxy.observe()).backends.web?.a;
  assert.equal(leaving?.state, "drain");
  assert.equal(leaving?.sessions, 2);
  assert.ok(leaving?.leavingUntil);
  assert.deepEqual(await edge.haproxy.connections("127.0.0.1", a.port), { connections: 2, mayReceive: false });
  await edge.restartAgent();
  assert.ok(
    (await edge.haproxy.observe()).backends.web?.a?.leavingUntil,
    "the drain goes on after the agent's restart",
  );
  a.release();
  await response.until("last");
  assert.ok(await socket.echoes("still here"));
  assert.equal((await edge.haproxy.connections("127.0.0.1", a.port)).connections, 1);
  socket.close();
  await until("the server is removed", async () => (await serverIds(edge)).join() === "b");
  assert.deepEqual(await edge.haproxy.connections("127.0.0.1", a.port), { connections: 0, mayReceive: false });
});

test("what is left on a server is cut after its drain deadline, also by a next agent, and not before", async (t) => {
  const edge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  const deadline = { drainDeadline: "700 milliseconds" } as const;
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }, deadline));
  const socket = await RawClient.open(edge.port);
  await socket.upgrade();
  const startedAt = performance.now();
  await edge.haproxy.apply(edge.spec(), web({ b: b.port }, deadline));
  await edge.restartAgent();
  await assert.rejects(socket.until("never"), /connection/);
  const ms = performance.now() - startedAt;
  // The deadline is kept by the time of day, which may have been set by a little.
  assert.ok(ms > 690, `cut after ${ms} ms`);
  await until("the server is removed", async () => (await serverIds(edge)).join() === "b");
});

test("cut ends at once what is left on a server that leaves, and nothing else", async (t) => {
  const edge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const socket = await RawClient.open(edge.port);
  await socket.upgrade();
  await edge.haproxy.cut("127.0.0.1", a.port);
  assert.ok(await socket.echoes("a server that is wanted is left alone"));
  await edge.haproxy.apply(edge.spec(), web({ b: b.port }));
  const other = await RawClient.open(edge.port);
  t.after(() => other.close());
  await other.upgrade();
  await edge.haproxy.cut("127.0.0.1", a.port);
  await assert.rejects(socket.until("never"), /connection/);
  assert.ok(await other.echoes("here"));
});

test("a server that is wanted again while it drains takes traffic again, its requests untouched", async (t) => {
  const edge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  await edge.haproxy.apply(edge.spec(), web({ app: a.port }));
  const response = await heldResponse(edge.port);
  await edge.haproxy.apply(edge.spec(), web({ app: b.port }));
  const both = (await edge.haproxy.observe()).backends.web ?? {};
  assert.deepEqual(
    Object.entries(both).map(([id, { name, state, port }]) => ({ id, name, state, port })),
    [
      { id: "app", name: undefined, state: "drain", port: a.port },
      { id: "app.2", name: "app", state: "ready", port: b.port },
    ],
  );
  await edge.haproxy.apply(edge.spec(), web({ app: a.port }));
  const back = (await edge.haproxy.observe()).backends.web?.app;
  assert.deepEqual([back?.name, back?.state, back?.leavingUntil], ["app", "ready", undefined]);
  a.release();
  await response.until("last");
  await until("the other one is removed", async () => (await serverIds(edge)).join() === "app");
});

test("applies at the same time end in the last wanted state", async (t) => {
  const edge = await TestEdge.open(t);
  const ups = await Promise.all(["a", "b", "c"].map((name) => upstream(t, name)));
  const all = [...ups, ...ups].map((up) => edge.haproxy.apply(edge.spec(), web({ app: up.port })));
  const results = await Promise.all(all);
  assert.equal(results[0]?.how, "start");
  await until("one server is left", async () => (await serverIds(edge)).length === 1);
  const servers = Object.values((await edge.haproxy.observe()).backends.web ?? {});
  assert.deepEqual(
    servers.map(({ port }) => port),
    [ups[2]?.port],
  );
  assert.equal((await edge.haproxy.plan(edge.spec(), web({ app: ups[2]?.port ?? 0 }))).how, "nothing");
});
