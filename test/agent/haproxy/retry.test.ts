import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import test, { type TestContext } from "node:test";
import { backendSpec } from "../../../src/model/edge/backend";
import { routeSpec } from "../../../src/model/route/route";
import { until } from "../../support/until";
import { TestEdge, upstream, web } from "./support/edge";

/** Takes every request and closes its connection without an answer, as a process does that is killed meanwhile. */
async function crasher(t: TestContext): Promise<{ port: number; requests: number }> {
  const server = createServer((request) => {
    seen.requests += 1;
    request.resume();
    request.on("end", () => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const seen = { port: (server.address() as AddressInfo).port, requests: 0 };
  return seen;
}

/** Status of a request on a connection of its own: on one that was used, HAProxy closes without an answer in place of a 502. */
function send(testEdge: TestEdge, method = "GET", headers: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port: testEdge.port, method, headers, agent: false }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
    });
    call.on("error", reject);
    call.end(["POST", "PUT", "PATCH"].includes(method) ? "x" : undefined);
  });
}

test("retry: safe sends GET, HEAD and OPTIONS again to another server, and nothing else", async (t) => {
  const testEdge = await TestEdge.open(t);
  const [a, b] = [await crasher(t), await upstream(t, "b")];
  await testEdge.haproxy.apply(testEdge.spec(), web({ a: a.port, b: b.port }, { retry: "safe" }));
  // Each turn asks both servers first, one after the other.
  for (const method of ["GET", "HEAD", "OPTIONS"])
    for (let turn = 0; turn < 4; turn++) assert.equal(await send(testEdge, method), 200, method);
  assert.ok(a.requests >= 3, `${a.requests} requests reached the server that closes`);
  for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
    const [before, answered] = [a.requests, b.requests];
    const statuses = [await send(testEdge, method), await send(testEdge, method)];
    assert.deepEqual(statuses.toSorted(), [200, 502], method);
    assert.equal(a.requests, before + 1, `${method} that was sent again`);
    assert.equal(b.requests, answered + 1, `${method} that was sent again`);
  }
});

test("by default only what no connection could be made for is sent again", async (t) => {
  const testEdge = await TestEdge.open(t);
  const [a, b] = [await crasher(t), await upstream(t, "b")];
  await testEdge.haproxy.apply(testEdge.spec(), web({ a: a.port, b: b.port }));
  assert.deepEqual([await send(testEdge), await send(testEdge)].toSorted(), [200, 502]);
});

test("what goes to a route's candidate is not sent again, so that gates see its failures", async (t) => {
  const testEdge = await TestEdge.open(t);
  const [a, b, stable] = [await crasher(t), await upstream(t, "b"), await upstream(t, "stable")];
  const backends = {
    ...web({ stable: stable.port }, { retry: "safe" }),
    next: backendSpec.parse({
      retry: "safe",
      servers: { a: { address: "127.0.0.1", port: a.port }, b: { address: "127.0.0.1", port: b.port } },
    }),
  };
  const route = routeSpec.parse({
    edges: ["web"],
    match: { pathPrefix: "/" },
    stable: "web",
    candidate: "next",
    split: 5000,
    sticky: { by: "none" },
    testers: { header: "x-tester", value: "yes" },
  });
  await testEdge.haproxy.apply(testEdge.spec(), backends, { all: route });
  const tester = { "x-tester": "yes" };
  const statuses = [await send(testEdge, "GET", tester), await send(testEdge, "GET", tester)];
  assert.deepEqual(statuses.toSorted(), [200, 502]);
  await until("a request that was drawn fails", async () => (await send(testEdge)) === 502);
});

test("a server that is told to be gone gets no request, until it is told to be back", async (t) => {
  const testEdge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  await testEdge.haproxy.apply(
    testEdge.spec(),
    web({ a: a.port, b: b.port }, { health: { path: "/", interval: "1 hour" } }),
  );
  const names = async () =>
    Promise.all(
      Array.from({ length: 6 }, async () => {
        const answer = await fetch(`http://127.0.0.1:${testEdge.port}/`);
        return ((await answer.json()) as { name: string }).name;
      }),
    );
  await testEdge.haproxy.notifyHealth("127.0.0.1", a.port, "down");
  assert.deepEqual([...new Set(await names())], ["b"]);
  assert.equal((await testEdge.haproxy.observe()).backends.web?.a?.operational, "down");
  await testEdge.haproxy.notifyHealth("127.0.0.1", a.port, "up");
  assert.deepEqual([...new Set(await names())].toSorted(), ["a", "b"]);
  await testEdge.haproxy.notifyHealth("127.0.0.1", 1, "down");
  assert.equal((await testEdge.haproxy.observe()).backends.web?.b?.operational, "up");
});
