import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { render } from "../../../src/agent/haproxy/config/render";
import { SPLITS_FILE } from "../../../src/agent/haproxy/config/routes";
import { assignServers } from "../../../src/agent/haproxy/runtime/server-assignments";
import { SCRIPT_FILE } from "../../../src/agent/mirror/script";
import { backendSpec } from "../../../src/model/edge/backend";
import { edgeSpec } from "../../../src/model/edge/edge";
import { routeSpec } from "../../../src/model/route/route";
import { binary } from "./support/edge";

const run = promisify(execFile);

test("HAProxy, of whichever version, warns of nothing in a config with all that an edge can have", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "sl-warnings-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const certificate = join(folder, "it.pem");
  const subject = ["-subj", "/CN=localhost", "-days", "2", "-keyout", certificate, "-out", `${certificate}.crt`];
  await run("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject]);
  await run("sh", ["-c", 'cat "$1.crt" >> "$1"', "sh", certificate]);
  const address = "127.0.0.1";
  const backends = Object.fromEntries(
    ["blue", "green", "shadow"].map((name, index) => [
      name,
      backendSpec.parse({
        servers: { a: { address, port: 9000 + index }, b: { address, port: 9010 + index, state: "drain" } },
        health: { path: "/healthz" },
        retry: "safe",
      }),
    ]),
  );
  const { text, splits, script } = render({
    name: "web",
    spec: edgeSpec.parse({
      frontends: {
        web: { binds: [{ port: 8080 }, { port: 8443, tls: { certificate } }], defaultBackend: "blue" },
      },
      maxConnections: 100,
      metrics: { port: 9101 },
      meter: true,
    }),
    backends,
    placed: assignServers(backends, { placed: [], leaving: [] }, 0).placed,
    routes: {
      all: routeSpec.parse({
        edges: ["web"],
        match: { host: "example.com", pathPrefix: "/api", headers: { "x-a": "b" } },
        stable: "blue",
        candidate: "green",
        split: 1000,
        sticky: { by: "cookie", name: "side" },
        testers: { header: "x-test", value: "yes" },
        mirror: { to: "shadow", share: "10%", maxBody: "64 KiB" },
        sample: { requests: 10 },
      }),
    },
    socket: join(folder, "worker.sock"),
    mirror: join(folder, "mirror.sock"),
    host: {},
  });
  await writeFile(join(folder, "haproxy.cfg"), text);
  await writeFile(join(folder, SPLITS_FILE), splits ?? "");
  await writeFile(join(folder, SCRIPT_FILE), script ?? "");
  const { stdout, stderr } = await run(binary, ["-c", "-f", join(folder, "haproxy.cfg")], { cwd: folder });
  assert.doesNotMatch(`${stdout}${stderr}`, /WARNING/);
});
