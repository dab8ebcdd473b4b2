import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../../support/ports";
import { until } from "../../support/until";
import { binary, RawClient, startLoad, TestEdge, upstream, web } from "./support/edge";

/** `npm run soak -- reloads` does more. */
const RELOADS = Number(process.env.SLUICE_RELOADS ?? 12);

test(`${RELOADS} reloads under load reset no connection, idle ones included`, async (t) => {
  const edge = await TestEdge.open(t);
  const up = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: up.port }));
  const busy = startLoad(edge.port, { clients: 4 });
  const idle = startLoad(edge.port, { clients: 30, pauseMs: 250 });
  const startedAt = performance.now();
  for (let round = 0; round < RELOADS; round++) {
    const spec = edge.spec({ timeouts: { queue: round % 2 === 0 ? "31 seconds" : "30 seconds" } });
    const { how, reasons } = await edge.haproxy.apply(spec, web({ a: up.port }));
    assert.equal(how, "reload");
    assert.equal(reasons.length, 1);
  }
  const ms = performance.now() - startedAt;
  await sleep(300);
  await Promise.all([busy.stop(), idle.stop()]);
  t.diagnostic(`${Math.round(ms / RELOADS)} ms per reload; ${busy.requests} + ${idle.requests} requests`);
  assert.deepEqual([...busy.failures, ...idle.failures], []);
});

test("a refused config shows HAProxy's words; what ran goes on, and stays on disk", async (t) => {
  const edge = await TestEdge.open(t);
  const up = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: up.port }));
  const disk = await readFile(edge.configPath, "utf8");
  const certificate = join(edge.directory, "not a certificate.pem");
  await writeFile(certificate, "hello");
  const tls = edge.spec({
    frontends: { web: { binds: [{ port: await freePorts(1), tls: { certificate } }], defaultBackend: "web" } },
  });
  const load = startLoad(edge.port);
  await assert.rejects(
    edge.haproxy.check(tls, web({ a: up.port })),
    /HAProxy refuses the config: .*haproxy\.cfg:\d+[\s\S]*line \d+: bind .*not a certificate\.pem/,
  );
  await assert.rejects(edge.haproxy.apply(tls, web({ a: up.port })), /HAProxy refuses the config/);
  const missing = edge.spec({
    frontends: {
      web: { binds: [{ port: await freePorts(1), tls: { certificate: "/nowhere.pem" } }], defaultBackend: "web" },
    },
  });
  await assert.rejects(edge.haproxy.apply(missing, web({ a: up.port })), /nowhere\.pem/);
  const taken = edge.spec({
    frontends: { web: { binds: [{ port: edge.port }, { port: up.port }], defaultBackend: "web" } },
  });
  await assert.rejects(
    edge.haproxy.apply(taken, web({ a: up.port })),
    new RegExp(`127\\.0\\.0\\.1:${up.port} is in use by \\S+ \\(pid ${process.pid}\\)`),
  );
  await load.stop();
  assert.deepEqual(load.failures, []);
  assert.equal(await readFile(edge.configPath, "utf8"), disk);
  assert.equal((await edge.haproxy.observe()).workerRunsFile, true);
  assert.equal((await edge.haproxy.apply(edge.spec(), web({ a: up.port }))).how, "nothing");
});

test("an address in use at the start is named with its holder, and nothing is left", async (t) => {
  const edge = await TestEdge.open(t);
  const up = await upstream(t, "a");
  const spec = edge.spec({ frontends: { web: { binds: [{ port: up.port }], defaultBackend: "web" } } });
  await assert.rejects(
    edge.haproxy.apply(spec, {}),
    new RegExp(`127\\.0\\.0\\.1:${up.port} is in use by \\S+ \\(pid ${process.pid}\\)`),
  );
  assert.equal((await edge.haproxy.observe()).running, false);
});

test("a WebSocket outlives reloads in its old worker, and is seen there", async (t) => {
  const edge = await TestEdge.open(t);
  const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
  const short = { keepAlive: "1 second", request: "1 second" } as const;
  await edge.haproxy.apply(edge.spec({ timeouts: short }), web({ a: a.port }));
  const socket = await RawClient.open(edge.port);
  t.after(() => socket.close());
  await socket.upgrade();
  await edge.haproxy.apply(edge.spec({ timeouts: { ...short, queue: "31 seconds" } }), web({ b: b.port }));
  const observed = await edge.haproxy.observe();
  assert.equal(observed.oldWorkers.length, 1);
  assert.equal(observed.oldWorkers[0]?.clients, 1);
  assert.deepEqual(Object.keys(observed.backends.web ?? {}), ["b"]);
  assert.deepEqual(await edge.haproxy.connections("127.0.0.1", a.port), { connections: 1, mayReceive: true });
  assert.ok(await socket.echoes("still here"));
  await until(
    "the old worker's idle connections to have expired",
    async () => !(await edge.haproxy.connections("127.0.0.1", a.port)).mayReceive,
  );
  assert.equal((await edge.haproxy.connections("127.0.0.1", a.port)).connections, 1);
  await edge.haproxy.cut("127.0.0.1", a.port);
  await assert.rejects(socket.until("never"), /connection/);
  await until("the old worker is gone", async () => (await edge.haproxy.observe()).oldWorkers.length === 0);
  assert.deepEqual(await edge.haproxy.connections("127.0.0.1", a.port), { connections: 0, mayReceive: false });
});

test(`the binary under test is a HAProxy (${binary})`, async () => {
  const { haproxyVersion, parseVersion } = await import("../../../src/agent/haproxy/config/version");
  assert.ok((await haproxyVersion(binary)).major >= 2);
  assert.deepEqual(parseVersion("HAProxy version 3.0.5-8e879a5 2024/09/19"), {
    text: "3.0.5-8e879a5",
    major: 3,
    minor: 0,
  });
  const old = join(await (await import("node:fs/promises")).mkdtemp("/tmp/slv-"), "haproxy");
  await writeFile(old, "#!/bin/sh\necho 'HA-Proxy version 2.4.22-f8e3218 2023/02/14'\n", { mode: 0o755 });
  await assert.rejects(haproxyVersion(old), /is HAProxy 2\.4\.22-f8e3218, too old: install HAProxy 2\.6 or newer/);
  await assert.rejects(haproxyVersion("/nowhere/haproxy"), /cannot be run as \/nowhere\/haproxy/);
  await (await import("node:fs/promises")).rm(join(old, ".."), { recursive: true });
});
