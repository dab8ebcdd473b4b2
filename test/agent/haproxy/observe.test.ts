import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { request } from "node:https";
import { join } from "node:path";
import test from "node:test";
import { parseProcesses } from "../../../src/agent/haproxy/runtime/master";
import { backendSpec } from "../../../src/model/edge/backend";
import { freePorts } from "../../support/ports";
import { TestEdge, upstream, web } from "./support/edge";

const BACKENDS = 300;

test(`${BACKENDS} backends are observed by ${BACKENDS} calls at once`, async (t) => {
  const testEdge = await TestEdge.open(t);
  const up = await upstream(t, "a");
  const backend = backendSpec.parse({
    health: { path: "/", interval: "1 minute" },
    servers: { a: { address: "127.0.0.1", port: up.port }, b: { address: "127.0.0.1", port: up.port } },
  });
  const backends = Object.fromEntries(Array.from({ length: BACKENDS }, (_, index) => [`b${index}`, backend]));
  const startedAt = performance.now();
  await testEdge.haproxy.apply(testEdge.spec(), backends);
  const applied = performance.now();
  await testEdge.haproxy.observe();
  const once = performance.now();
  const all = await Promise.all(Array.from({ length: BACKENDS }, () => testEdge.haproxy.observe()));
  const many = performance.now();
  await Promise.all(Array.from({ length: 20 }, () => testEdge.haproxy.plan(testEdge.spec(), backends)));
  const planned = performance.now();
  t.diagnostic(
    `apply ${Math.round(applied - startedAt)} ms, observe ${(once - applied).toFixed(1)} ms, ${BACKENDS} at once ${((many - once) / BACKENDS).toFixed(2)} ms each, plan ${((planned - many) / 20).toFixed(1)} ms each`,
  );
  assert.equal(all.length, BACKENDS);
  for (const observed of all) assert.equal(Object.keys(observed.backends).length, BACKENDS);
});

test("requests carry forwarding headers and a request id, over HTTP and HTTPS", async (t) => {
  const testEdge = await TestEdge.open(t);
  const up = await upstream(t, "a");
  const certificate = join(testEdge.directory, "web.pem");
  const makeCertificate = () => {
    const made = join(testEdge.directory, "made");
    execFileSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        `${made}.key`,
        "-out",
        `${made}.crt`,
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
      ],
      { stdio: "ignore" },
    );
    execFileSync("sh", ["-c", `cat ${made}.crt ${made}.key > ${certificate}`]);
  };
  try {
    makeCertificate();
  } catch {
    t.skip("openssl is not installed");
    return;
  }
  const tlsPort = await freePorts(1);
  const spec = testEdge.spec({
    frontends: {
      web: { binds: [{ port: testEdge.port }, { port: tlsPort, tls: { certificate } }], defaultBackend: "web" },
    },
    metrics: { port: await freePorts(1) },
  });
  await testEdge.haproxy.apply(spec, web({ a: up.port }));
  const plain = (await (await fetch(`http://127.0.0.1:${testEdge.port}/`)).json()) as {
    headers: Record<string, string>;
  };
  assert.equal(plain.headers["x-forwarded-for"], "127.0.0.1");
  assert.equal(plain.headers["x-forwarded-proto"], "http");
  assert.match(plain.headers["x-request-id"] ?? "", /^[0-9a-f-]{36}$/);
  const behind = await fetch(`http://127.0.0.1:${testEdge.port}/`, {
    headers: { "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https", "x-request-id": "from-nginx" },
  });
  const { headers } = (await behind.json()) as { headers: Record<string, string> };
  assert.equal(headers["x-forwarded-for"], "192.0.2.1, 127.0.0.1");
  assert.equal(headers["x-forwarded-proto"], "https");
  assert.equal(headers["x-request-id"], "from-nginx");
  const secure = await new Promise<string>((resolve, reject) => {
    request({ host: "127.0.0.1", port: tlsPort, path: "/", rejectUnauthorized: false, agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve(body));
    })
      .on("error", reject)
      .end();
  });
  assert.equal(JSON.parse(secure).headers["x-forwarded-proto"], "https");
  const metrics = await fetch(`http://127.0.0.1:${spec.metrics?.port}/metrics`);
  assert.match(await metrics.text(), /haproxy_backend_http_responses_total\{proxy="web",code="2xx"\} 3/);
  assert.equal((await testEdge.haproxy.plan(spec, web({ a: up.port }))).how, "nothing");
  assert.equal((await testEdge.haproxy.observe()).renewed, false);
  makeCertificate();
  assert.equal((await testEdge.haproxy.observe()).renewed, true);
  assert.deepEqual(await testEdge.haproxy.plan(spec, web({ a: up.port })), {
    how: "reload",
    reasons: [`certificate ${certificate} has changed`],
  });
  await testEdge.haproxy.apply(spec, web({ a: up.port }));
  assert.equal((await testEdge.haproxy.observe()).renewed, false);
});

test("the process list of 2.6 and of newer versions is read", () => {
  const list = [
    "#<PID>          <type>          <reloads>       <uptime>        <version>      ",
    "1162            master          5 [failed: 1]   1d02h03m04s     3.0.5-8e879a5  ",
    "# workers",
    "1271            worker          1               0d00h00m05s     3.0.5-8e879a5  ",
    "# old workers",
    "1233            worker          3               0d00h00m43s     3.0.5-8e879a5  ",
    "# programs",
  ].join("\n");
  assert.deepEqual(parseProcesses(list), {
    master: 1162,
    failedReloads: 1,
    version: "3.0.5-8e879a5",
    worker: { pid: 1271, reloads: 1, uptimeSeconds: 5 },
    oldWorkers: [{ pid: 1233, reloads: 3, uptimeSeconds: 43 }],
  });
});
