import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { app, startPoolAgent, web } from "../support/agent";

/** Variables of the agent's environment that a process gets, as the documentation says. */
const INHERITED = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/** How the agent finds its processes again, and what the process's own start sets. */
const OWN = ["SLUICE_AGENT", "SLUICE_INSTANCE", "PWD"];

interface Seen {
  env: Record<string, string>;
  cwd: string;
  argv: string[];
}

test("what a process is started with", async (t) => {
  process.env.XDG_TEST_NOT_FOR_APPS = "not for apps";
  process.env.XDG_XDG_TEST_FACT = "rack 7";
  t.after(() => {
    delete process.env.XDG_TEST_NOT_FOR_APPS;
    delete process.env.XDG_XDG_TEST_FACT;
  });
  const poolAgent = await startPoolAgent(t);
  const { client } = poolAgent;
  const seenBy = async (port: number | undefined): Promise<Seen> =>
    (await fetch(`http://127.0.0.1:${port}/about`)).json() as Promise<Seen>;

  await t.test("is exactly what its templates, its facts and the documented variables say", async () => {
    const pool = await poolAgent.pool("facts");
    const servicePort = pool.ports.to;
    const { path } = await poolAgent.release("v1");
    await mkdir(join(path, "sub folder"), { recursive: true });
    await pool.promote(
      "v1",
      {
        "my-web": web(
          {
            ADDRESS: "{{edge.address}}",
            OTHER: "{{ports.side}} and {{ ports.redis }}",
            HOST: "{{host.env.XDG_XDG_TEST_FACT}}",
            QUOTED: "$HOME `id` \"'{{release.id}}",
          },
          {
            command: [
              process.execPath,
              "{{release.path}}/app.cjs",
              "{{release.id}}",
              "{{release.revision}}",
              "{{process.id}}",
              "{{replica.index}}/{{replica.count}}",
              "{{port}}",
              "a b  c; echo $HOME",
              "",
            ],
            cwd: "{{release.path}}/sub folder",
            replicas: 2,
          },
        ),
        side: app({}, { port: true }),
        redis: app({}, { policy: "service", port: servicePort }),
      },
      {
        release: { id: "v1", path, revision: "abc 1'2\"3" },
        ports: { from: pool.ports.from, to: servicePort - 1 },
      },
    );
    const processes = await pool.processes();
    const side = processes.get("side#0@v1")?.port;
    for (const index of [0, 1]) {
      const port = processes.get(`my-web#${index}@v1`)?.port;
      const { env, cwd, argv } = await seenBy(port);
      assert.equal(cwd, join(path, "sub folder"));
      assert.deepEqual(argv, [
        "v1",
        "abc 1'2\"3",
        `my-web#${index}`,
        `${index}/2`,
        String(port),
        "a b  c; echo $HOME",
        "",
      ]);
      const inherited = INHERITED.filter((name) => process.env[name] !== undefined);
      const expected: Record<string, string | undefined> = {
        ...Object.fromEntries(inherited.map((name) => [name, process.env[name]])),
        SLUICE_RELEASE_ID: "v1",
        SLUICE_RELEASE_PATH: path,
        SLUICE_REVISION: "abc 1'2\"3",
        SLUICE_PROCESS_ID: `my-web#${index}`,
        SLUICE_REPLICA_INDEX: String(index),
        SLUICE_REPLICA_COUNT: "2",
        SLUICE_PORT: String(port),
        SLUICE_EDGE_ADDRESS: `127.0.0.1:${pool.edgePort}`,
        SLUICE_PORT_MY_WEB: String(processes.get("my-web#0@v1")?.port),
        SLUICE_PORT_SIDE: String(side),
        SLUICE_PORT_REDIS: String(servicePort),
        ADDRESS: `127.0.0.1:${pool.edgePort}`,
        OTHER: `${side} and ${servicePort}`,
        HOST: "rack 7",
        QUOTED: "$HOME `id` \"'v1",
      };
      assert.deepEqual(Object.fromEntries(Object.entries(env).filter(([name]) => !OWN.includes(name))), expected);
    }
  });

  await t.test("may be a shell's line, which sees the facts as variables", async () => {
    const pool = await poolAgent.pool("shell");
    const out = join(poolAgent.directory, "shell.out");
    await pool.promote("v1", {
      web: web(
        { OUT: out },
        {
          shell: true,
          command: `printf '%s|%s|%s' "$SLUICE_RELEASE_ID" "$(pwd)" {{port}} > "$OUT"; exec "${process.execPath}" app.cjs`,
        },
      ),
    });
    const { path } = await poolAgent.release("v1");
    const port = (await pool.processes()).get("web#0@v1")?.port;
    assert.equal(await readFile(out, "utf8"), `v1|${path}|${port}`);
  });

  await t.test("reaches the app where it is secret, and nobody else", async () => {
    const pool = await poolAgent.pool("secret");
    const spec = await pool.spec("v1", { web: web({ TOKEN: "hunter2-{{port}}-{{x}}", PLAIN: "plain" }) });
    const { id } = await client.begin({
      target: "pool/secret",
      owner: { who: "t", why: "t", pid: 1 },
      leaseMs: 60_000,
    });
    await client.step(id, { verb: "pool.start", pool: "secret", spec, secrets: { web: ["TOKEN"] } }, () => undefined);
    await client.step(id, { verb: "pool.switch", pool: "secret" }, () => undefined);
    await client.step(id, { verb: "pool.follow", pool: "secret" }, () => undefined);
    await client.commit(id);
    const port = (await pool.processes()).get("web#0@v1")?.port;
    assert.equal((await seenBy(port)).env.TOKEN, "hunter2-{{port}}-{{x}}");
    for (const file of ["state.json", "state.copy.json", "journal.ndjson", "events.ndjson", "agent.log"])
      assert.doesNotMatch(await readFile(join(poolAgent.directory, file), "utf8"), /hunter2/, file);
    assert.doesNotMatch(JSON.stringify(await client.status()), /hunter2/);
  });

  await t.test("is not repeated in a message where the app prints its secrets as it fails", async () => {
    const pool = await poolAgent.pool("leaky");
    const command = ["/bin/sh", "-c", 'echo "cannot log in with $TOKEN"; exit 1'];
    const spec = await pool.spec("v1", { web: web({ TOKEN: "hunter2-hunter2" }, { command }) });
    const target = { target: "pool/leaky", owner: { who: "t", why: "t", pid: 1 }, leaseMs: 60_000 };
    const { id } = await client.begin(target);
    const start = { verb: "pool.start" as const, pool: "leaky", spec, secrets: { web: ["TOKEN"] } };
    await assert.rejects(
      client.step(id, start, () => undefined),
      /\| cannot log in with \[secret\]/,
    );
    await client.abort(id, "test");
    assert.doesNotMatch(await readFile(join(poolAgent.directory, "events.ndjson"), "utf8"), /hunter2/);
  });

  await t.test("is refused where the host does not have it", async () => {
    const pool = await poolAgent.pool("missing");
    const processes = { web: web({ A: "{{host.env.NOWHERE_TO_BE_FOUND}}" }) };
    await assert.rejects(
      pool.promote("v1", processes),
      /\{\{host\.env\.NOWHERE_TO_BE_FOUND\}\} is not set in the agent's environment/,
    );
    await assert.rejects(
      pool.promote("v1", { web: web({}, { cwd: "{{release.path}}/none" }) }),
      /processes\.web\.cwd: .*\/srv\/v1\/none does not exist/,
    );
  });
});
