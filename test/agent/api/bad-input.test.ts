import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import test from "node:test";
import type { EdgeInput } from "../../../src/model/edge/edge";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { startTestAgent, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { change } from "../../support/transaction";
import { startPoolAgent, web } from "../pools/support/agent";

const edge = (name: string, frontend: EdgeInput["frontends"][string]): StepInput => ({
  verb: "edge.set",
  edge: name,
  spec: { frontends: { http: frontend } },
});

test("what can't be is refused with its reason, and changes nothing", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory } = poolAgent;
  const pool = await poolAgent.pool("web");
  await pool.promote("v1", { web: web() });
  await change(client, "backend/web/api", [{ verb: "backend.set", edge: "web", backend: "api", spec: {} }]);
  const before = { processes: await pool.processes(), edge: (await client.edge("web"))?.observed.worker?.pid };
  const [port] = [await freePorts(1)];

  const refused = async (name: string, target: Parameters<typeof change>[1], step: StepInput, message: RegExp) =>
    t.test(name, async () => {
      await assert.rejects(change(client, target, [step]), (error: Error) => {
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(
        { processes: await pool.processes(), edge: (await client.edge("web"))?.observed.worker?.pid },
        before,
      );
      assert.equal(await pool.get(), "web#0@v1");
    });

  await refused(
    "an edge on the address of another",
    "edge/two",
    edge("two", { binds: [{ address: "0.0.0.0", port: pool.edgePort }], defaultBackend: "web" }),
    new RegExp(`0\\.0\\.0\\.0:${pool.edgePort} is the address of edge web on this host: use another port`),
  );

  const stranger = createServer().listen(port, "127.0.0.1");
  await once(stranger, "listening");
  t.after(() => stranger.close());
  const held = new RegExp(
    `127\\.0\\.0\\.1:${port} is in use by \\S+ \\(pid ${process.pid}\\): stop what listens there`,
  );
  await refused(
    "an edge on a port that a stranger holds",
    "edge/two",
    edge("two", { binds: [{ port }], defaultBackend: "web" }),
    held,
  );
  await refused(
    "a running edge's new port that a stranger holds",
    "edge/web",
    edge("web", { binds: [{ port: pool.edgePort }, { port }], defaultBackend: "web" }),
    held,
  );

  const missing = join(directory, "none.pem");
  const tls = (certificate: string) =>
    edge("web", { binds: [{ port: pool.edgePort, tls: { certificate } }], defaultBackend: "web" });
  await refused(
    "a certificate that is missing, in HAProxy's words with the line",
    "edge/web",
    tls(missing),
    /HAProxy refuses the config: .*none\.pem[\s\S]*line \d+: bind .*none\.pem/,
  );
  const broken = join(directory, "broken.pem");
  await writeFile(broken, "-----BEGIN CERTIFICATE-----\nnot one\n");
  await refused(
    "a certificate that is none",
    "edge/web",
    tls(broken),
    /HAProxy refuses the config: .*broken\.pem[\s\S]*line \d+: bind /,
  );

  await refused(
    "the removal of an edge that serves",
    "edge/web",
    { verb: "edge.remove", edge: "web" },
    /edge web still serves backend api, pool web: remove them first/,
  );
  await refused(
    "a backend named as a pool",
    "backend/web/web",
    { verb: "backend.set", edge: "web", backend: "web", spec: {} },
    /web is the backend of the pool of that name on edge web: use another name/,
  );
  await refused(
    "a backend on an edge that is not there",
    "backend/none/api",
    { verb: "backend.set", edge: "none", backend: "api", spec: {} },
    /edge none is not on this agent \(it has web\): declare it, and make this depend on it/,
  );
  const spec = await pool.spec("v1", { web: web() });
  await refused(
    "a pool named as a backend",
    "pool/api",
    { verb: "pool.start", pool: "api", spec: { ...spec, ports: { from: 40_000, to: 40_009 } } },
    /edge web has a backend named api, which is not this pool's: use another name/,
  );

  const start = (path: string, over: object = {}): StepInput => ({
    verb: "pool.start",
    pool: "web",
    spec: { ...spec, release: { id: "v9", path }, ...over },
  });
  await refused(
    "a release whose folder is missing",
    "pool/web",
    start("/nowhere/v9"),
    /release\.path: \/nowhere\/v9 of release v9 does not exist: place the release there first$/,
  );
  await refused("a release that is a file", "pool/web", start(broken), /broken\.pem of release v9 is not a folder/);
  const { path } = await poolAgent.release("v9");
  const process9 = (command: string[]) => start(path, { processes: { web: web({}, { command }) } });
  await refused(
    "a program that is missing",
    "pool/web",
    process9(["{{release.path}}/none"]),
    /processes\.web\.command\[0\]: .*\/srv\/v9\/none does not exist; check the path/,
  );
  await refused(
    "a program that is not executable",
    "pool/web",
    process9(["{{release.path}}/app.cjs"]),
    /app\.cjs is not executable; chmod \+x it/,
  );
  await refused(
    "a program that is nowhere on PATH",
    "pool/web",
    process9(["no-such-program"]),
    /no-such-program is in no folder of PATH/,
  );
  await mkdir(join(path, "folder"));
  await refused(
    "a program that is a folder",
    "pool/web",
    process9(["{{release.path}}/folder"]),
    /folder is not a file; give the program/,
  );

  await t.test("a missing release names those that are kept", async () => {
    await pool.promote("v2", { web: web() });
    await assert.rejects(
      change(client, "pool/web", [start("/nowhere/v9")]),
      new RegExp(
        `does not exist: place the release there first; releases kept on this host: v1 \\(${directory}/srv/v1\\)`,
      ),
    );
  });

  await t.test("old releases are kept by count, newest first, each once", async () => {
    const kept = async () => {
      const found = await client.pool("web");
      return found?.retained.map(({ release }) => release.id);
    };
    for (const release of ["v3", "v1", "v4"]) await pool.promote(release, { web: web() });
    assert.deepEqual(await kept(), ["v1", "v3", "v2"]);
    await pool.promote("v5", { web: web() }, { retain: { count: 2 } });
    assert.deepEqual(await kept(), ["v4", "v1"]);
    await pool.promote("v5", { web: web() }, { retain: { age: "0 seconds" } });
    await pool.promote("v6", { web: web() }, { retain: { count: 0 } });
    assert.deepEqual(await kept(), []);
  });
});

test("a HAProxy that can't be used is named with its version", async (t) => {
  const folder = await temporaryFolder(t);
  const double = join(folder, "haproxy");
  const path = process.env.PATH;
  t.after(() => {
    process.env.PATH = path;
  });
  await writeFile(double, "#!/bin/sh\necho 'HA-Proxy version 2.4.22-f8e3218 2023/02/14 - https://haproxy.org/'\n");
  await chmod(double, 0o755);
  process.env.PATH = `${folder}:${path}`;
  const { client } = await startTestAgent(t);
  const step = edge("main", { binds: [{ port: await freePorts(1) }], defaultBackend: "web" });
  const wanted = [
    async () => undefined,
    () => writeFile(double, "#!/bin/sh\necho 'nginx version: 1.2'\n"),
    async () => {
      await rm(double);
      await symlink("/nowhere", double);
    },
  ];
  const messages = [
    /\/haproxy is HAProxy 2\.4\.22-f8e3218, too old: install HAProxy 2\.6 or newer/,
    /"nginx version: 1\.2\\n" is not the version of a HAProxy: name its binary/,
    /HAProxy cannot be run as .*\/haproxy: install HAProxy 2\.6 or newer, or name its binary/,
  ];
  for (const [index, arrange] of wanted.entries()) {
    await arrange();
    await assert.rejects(change(client, "edge/main", [step]), messages[index] ?? /unreachable/);
    assert.equal(await client.edge("main"), undefined);
  }
});
