import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import test from "node:test";
import { ask, change } from "../../../src/agent/haproxy/runtime/runtime-api";
import { backendSpec } from "../../../src/model/edge/backend";
import { until } from "../../support/until";
import { TestEdge, upstream, web } from "./support/edge";

test("what somebody changed by hand is seen, and mended without a reload", async (t) => {
  const testEdge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  const spec = testEdge.spec();
  const backends = web({ a: a.port, b: b.port });
  await testEdge.haproxy.apply(spec, backends);
  const { worker } = await testEdge.haproxy.observe();
  const byHand: [string[], string][] = [
    [["set server web/a state maint"], "server web/a is in state maint, not ready"],
    [["set server web/a state drain"], "server web/a is in state drain, not ready"],
    [["set server web/a weight 7"], "server web/a has weight 7, not 100"],
    [
      [`set server web/a addr 127.0.0.2 port ${b.port}`],
      `server web/a has address 127.0.0.2:${b.port}, not 127.0.0.1:${a.port}`,
    ],
    [["disable health web/b"], "server web/b is not health-checked"],
    [["set server web/b state maint", "del server web/b"], "server web/b is missing"],
    [["disable frontend web"], "frontend web is disabled"],
  ];
  for (const [commands, reason] of byHand) {
    await until(`by hand: ${commands}`, async () => {
      await change(testEdge.workerSocket, commands);
      return true;
    });
    const plan = await testEdge.haproxy.plan(spec, backends);
    assert.deepEqual(plan, { how: "runtime", reasons: [reason] });
    assert.deepEqual((await testEdge.haproxy.apply(spec, backends)).reasons, [reason]);
    assert.deepEqual(await testEdge.haproxy.plan(spec, backends), { how: "nothing", reasons: [] });
  }
  const after = await testEdge.haproxy.observe();
  assert.equal(after.worker?.pid, worker?.pid);
  assert.equal(after.frontends.web?.status, "open");
  assert.equal((await fetch(`http://127.0.0.1:${testEdge.port}/`)).status, 200);
});

test("a server that somebody added is seen, drained and removed", async (t) => {
  const testEdge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  await testEdge.haproxy.apply(testEdge.spec(), web({ a: a.port }));
  await ask(testEdge.workerSocket, `add server web/rogue 127.0.0.1:${b.port}; set server web/rogue state ready`);
  const seen = (await testEdge.haproxy.observe()).backends.web?.rogue;
  assert.deepEqual([seen?.name, seen?.state, seen?.port], [undefined, "ready", b.port]);
  const plan = await testEdge.haproxy.plan(testEdge.spec(), web({ a: a.port }));
  assert.deepEqual(plan, { how: "runtime", reasons: ["server web/rogue was added by hand"] });
  await testEdge.haproxy.apply(testEdge.spec(), web({ a: a.port }));
  await until("it is removed", async () => (await testEdge.haproxy.observe()).backends.web?.rogue === undefined);
});

test("a config that was edited or removed by hand is seen, and written again", async (t) => {
  const testEdge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  const spec = testEdge.spec();
  const backends = web({ a: a.port });
  await testEdge.haproxy.apply(spec, backends);
  const text = await readFile(testEdge.configPath, "utf8");
  await writeFile(testEdge.configPath, text.replace("retries 3", "retries 1"));
  const edited = await testEdge.haproxy.observe();
  assert.deepEqual([edited.file, edited.workerRunsFile], ["edited", false]);
  assert.deepEqual(await testEdge.haproxy.apply(spec, backends), {
    how: "reload",
    reasons: ["haproxy.cfg was changed by hand"],
  });
  assert.equal(await readFile(testEdge.configPath, "utf8"), text);
  await rm(testEdge.configPath);
  assert.equal((await testEdge.haproxy.observe()).file, "missing");
  assert.deepEqual(await testEdge.haproxy.apply(spec, backends), {
    how: "runtime",
    reasons: ["haproxy.cfg is missing"],
  });
  assert.equal(await readFile(testEdge.configPath, "utf8"), text);
  await change(testEdge.workerSocket, ["shutdown frontend web"]);
  assert.deepEqual(await testEdge.haproxy.apply(spec, backends), {
    how: "reload",
    reasons: ["frontend web was shut down"],
  });
  assert.equal((await fetch(`http://127.0.0.1:${testEdge.port}/`)).status, 200);
});

test("a plan says how each kind of change is applied, and why", async (t) => {
  const testEdge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  const spec = testEdge.spec();
  const backends = web({ a: a.port });
  assert.deepEqual((await testEdge.haproxy.plan(spec, backends)).how, "start");
  await testEdge.haproxy.apply(spec, backends);
  const server = { address: "127.0.0.1", port: a.port };
  const kinds: [typeof spec, typeof backends, string, string[]][] = [
    [spec, backends, "nothing", []],
    [
      testEdge.spec({ timeouts: { client: "30 seconds" } }),
      backends,
      "reload",
      ["timeouts.client 1 minute -> 30 seconds"],
    ],
    [testEdge.spec({ maxConnections: 500 }), backends, "reload", [`maxConnections ${spec.maxConnections} -> 500`]],
    [spec, web({ a: a.port, b: 9 }), "runtime", ["backends.web.servers.b added"]],
    [spec, web({}), "runtime", ["backends.web.servers.a removed"]],
    [spec, web({ a: 9 }), "runtime", [`backends.web.servers.a.port ${a.port} -> 9`]],
    [
      spec,
      { web: backendSpec.parse({ servers: { a: { ...server, weight: 5 } } }) },
      "runtime",
      ["backends.web.servers.a.weight 100 -> 5"],
    ],
    [
      spec,
      { web: backendSpec.parse({ servers: { a: { ...server, state: "drain" } } }) },
      "runtime",
      ["backends.web.servers.a.state ready -> drain"],
    ],
    [spec, web({ a: a.port }, { balance: "leastconn" }), "reload", ["backends.web.balance roundrobin -> leastconn"]],
    [
      spec,
      web({ a: a.port }, { drainDeadline: "5 seconds" }),
      "nothing",
      ["backends.web.drainDeadline 1 minute -> 5 seconds"],
    ],
    [spec, web({ a: a.port }, { health: { path: "/healthz" } }), "reload", ["backends.web.health added"]],
    [spec, {}, "reload", ["backends.web removed"]],
    [spec, { ...backends, other: backendSpec.parse({}) }, "reload", ["backends.other added"]],
  ];
  for (const [wanted, wantedBackends, how, reasons] of kinds) {
    const plan = await testEdge.haproxy.plan(wanted, wantedBackends);
    assert.deepEqual({ ...plan, reasons: plan.reasons }, { how, reasons });
    assert.equal((await testEdge.haproxy.apply(wanted, wantedBackends)).how, how);
    assert.deepEqual(await testEdge.haproxy.plan(wanted, wantedBackends), { how: "nothing", reasons: [] });
    const { file, workerRunsFile } = await testEdge.haproxy.observe();
    assert.deepEqual({ file, workerRunsFile }, { file: "ours", workerRunsFile: true });
    await testEdge.haproxy.apply(spec, backends);
  }
});
