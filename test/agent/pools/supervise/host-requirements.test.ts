import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import type { AgentClient } from "../../../../src/agent/client/client";
import { readStat, send } from "../../../../src/agent/processes/identity";
import { until } from "../../../support/until";
import { app, startPoolAgent, type TestPool, web } from "../support/agent";

const ROOT = process.getuid?.() === 0;
const PATIENT = { deadlineMs: 60_000 };
const MIB = 1024 * 1024;

async function find(client: AgentClient, pool: string, key: string) {
  return (await client.pool(pool))?.processes.find((each) => each.key === key && each.wanted);
}

/** Refusals of a release in a preview. */
async function refusals(client: AgentClient, pool: TestPool, processes: Parameters<TestPool["promote"]>[1]) {
  const spec = await pool.spec("v2", processes);
  const found = await client.check({ verb: "pool.start", pool: pool.name, spec });
  return found.map(({ path, message }) => `${path}: ${message}`);
}

test("what surrounds a process", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory } = poolAgent;

  await t.test("is checked before anything of the old release is touched", async () => {
    const pool = await poolAgent.pool("checked");
    await pool.promote("v1", { web: web() });
    const before = await pool.processes();
    const { path } = await poolAgent.release("v2");
    await writeFile(join(path, "plain.txt"), "");
    await chmod(join(path, "plain.txt"), 0o644);
    assert.deepEqual(
      await refusals(client, pool, {
        web: web({}, { user: "nobody-of-that-name" }),
        a: app({}, { command: ["no-such-program"] }),
        b: app({}, { command: ["./plain.txt"] }),
        c: app({}, { lifecycle: { quiet: ["{{release.path}}/no/quiet"] }, health: { command: ["./no-check"] } }),
        d: app({}, { cwd: "{{release.path}}/no-folder" }),
        e: app({}, { user: "nobody", group: "no-such-group" }),
      }),
      [
        "processes.web.user: user nobody-of-that-name does not exist on this host: create it, or use another",
        `processes.a.command[0]: no-such-program is in no folder of PATH (${process.env.PATH}); install it, or give its path`,
        `processes.b.command[0]: ${path}/plain.txt is not executable; chmod +x it`,
        `processes.c.lifecycle.quiet[0]: ${path}/no/quiet does not exist; check the path`,
        `processes.c.health.command[0]: ${path}/no-check does not exist; check the path`,
        `processes.d.cwd: ${path}/no-folder does not exist; create it first`,
        "processes.e.user: group no-such-group does not exist on this host: create it, or use another",
      ],
    );
    await assert.rejects(pool.promote("v2", { web: web({}, { user: "nobody-of-that-name" }) }), { code: "refused" });
    assert.deepEqual(await pool.processes(), before);
  });

  await t.test(
    "must be open to the user of a process, and of a size that the kernel passes on",
    { skip: ROOT ? false : "only root can run a process as another user" },
    async (t) => {
      const pool = await poolAgent.pool("open");
      await pool.promote("v1", { web: web() });
      const before = await pool.processes();
      const { path } = await poolAgent.release("v2");
      const outside = await mkdtemp(join(tmpdir(), "sl-open-"));
      t.after(() => rm(outside, { recursive: true, force: true }));
      await chmod(outside, 0o755);
      await writeFile(join(outside, "mine"), "#!/bin/sh\n", { mode: 0o700 });
      await writeFile(join(outside, "all"), "#!/bin/sh\n", { mode: 0o755 });
      const nobody = { user: "nobody", cwd: outside } as const;
      assert.deepEqual(
        await refusals(client, pool, {
          web: web({}, { user: "nobody" }),
          a: app({}, { ...nobody, command: ["./mine"] }),
          b: app({ PATH: outside }, { ...nobody, command: ["mine"] }),
          c: app({}, { ...nobody, command: ["./all"], lifecycle: { stop: [join(outside, "mine")] } }),
          d: app({ LONG: "😀".repeat(32_768) }),
        }),
        [
          `processes.web.cwd: ${path} can't be entered by user nobody: change permissions on its path`,
          `processes.a.command[0]: ${outside}/mine can't be executed by user nobody: change its permissions, or those of the folders above it`,
          "processes.b.command[0]: mine can't be executed by user nobody: change its permissions, or those of the folders above it",
          `processes.c.lifecycle.stop[0]: ${outside}/mine can't be executed by user nobody: change its permissions, or those of the folders above it`,
          "processes.d.env: variable LONG has 131078 bytes, and the kernel passes at most 131072 in one text: pass what is large in a file",
        ],
      );
      await assert.rejects(pool.promote("v2", { web: web({}, { user: "nobody" }) }), { code: "refused" });
      assert.deepEqual(await pool.processes(), before);
    },
  );

  await t.test(
    "is another user, with its groups and without any rights, and so for its commands",
    {
      skip: ROOT ? false : "needs root: run the tests as root",
    },
    async () => {
      const pool = await poolAgent.pool("user");
      const trace = join(directory, "user");
      await mkdir(trace);
      await chmod(trace, 0o777);
      // The state folder is the agent's alone, and so are its parents on some machines.
      await chmod(directory, 0o711);
      const script = `id -un >${trace}/who; echo "$HOME $USER $LOGNAME" >>${trace}/who; cat /proc/self/status >${trace}/status; exec sleep 1000`;
      const lifecycle = { quiet: ["/bin/sh", "-c", `id -un >${trace}/quiet`] };
      const side = app({}, { command: ["/bin/sh", "-c", script], cwd: "/", user: "nobody", lifecycle });
      await pool.promote("v1", { web: web(), side });
      const home = (await readFile("/etc/passwd", "utf8"))
        .split("\n")
        .find((line) => line.startsWith("nobody:"))
        ?.split(":")[5];
      assert.equal(await readFile(join(trace, "who"), "utf8"), `nobody\n${home} nobody nobody\n`);
      const status = await readFile(join(trace, "status"), "utf8");
      assert.match(status, /^CapEff:\t0{16}$/m);
      assert.doesNotMatch(status, /^Groups:.*\b0\b/m);
      const { pid } = (await find(client, "user", "side#0")) ?? {};
      await pool.promote("v2", { web: web() });
      assert.equal(await readFile(join(trace, "quiet"), "utf8"), "nobody\n");
      assert.equal(readStat(pid ?? 0), undefined);
    },
  );

  await t.test("are limits of the kernel", async () => {
    const pool = await poolAgent.pool("limits");
    await pool.promote("v1", { web: web(), side: app({}, { limits: { files: 77, core: "0 B" } }) });
    const { pid } = (await find(client, "limits", "side#0")) ?? {};
    const found = await readFile(`/proc/${pid}/limits`, "utf8");
    assert.match(found, /^Max open files +77 +77 +files/m);
    assert.match(found, /^Max core file size +0 +0 +bytes/m);
  });

  await t.test("is bounded output, however much there is, and health goes on", async () => {
    const pool = await poolAgent.pool("flood");
    const flood = "yes 0123456789012345678901234567890123456789 & exec node app.cjs";
    const health = { tcp: true, checkInterval: "100 milliseconds" } as const;
    const output = { maxSize: "1 MiB", keep: 2 } as const;
    const PATH = `${join(process.execPath, "..")}:${process.env.PATH}`;
    await pool.promote("v1", {
      web: web({ PATH }, { command: flood, shell: true, output }),
      side: app({ PATH }, { command: flood, shell: true, port: true, health, output }),
    });
    const folder = join(directory, "processes", "flood.1.side.0");
    const files = async () => (await readdir(folder)).filter((name) => name.startsWith("output.log")).toSorted();
    await until(
      "three files",
      async () => (await files()).filter((name) => !name.endsWith(".new")).length === 3,
      PATIENT,
    );
    for (const older of ["output.log.1", "output.log.2"])
      assert.ok((await stat(join(folder, older))).size <= MIB, older);
    // Its file is rotated again and again: without that it would only grow.
    let largest = 0;
    await until(
      "a rotation",
      async () => {
        const { size } = await stat(join(folder, "output.log"));
        const shrunk = size < largest;
        largest = Math.max(size, largest);
        return shrunk;
      },
      { ...PATIENT, intervalMs: 5 },
    );
    assert.equal(await pool.get(), "web#0@v1");
    assert.equal((await find(client, "flood", "side#0"))?.health, "healthy");
    await pool.promote("v2", { web: web() });
    await assert.rejects(stat(folder), { code: "ENOENT" });
  });

  await t.test("is what a process leaves behind: forks away, daemons, those that ignore signals", async () => {
    const pool = await poolAgent.pool("escape");
    const pids = join(directory, "escape");
    const script = [
      `(setsid sh -c 'trap "" TERM HUP; echo $$ >>${pids}; while :; do sleep 1; done' &)`,
      `(trap "" TERM; echo other >/dev/null; while :; do sleep 1; done) &`,
      `echo $! >>${pids}; trap "" TERM; while :; do sleep 1; done`,
    ].join("\n");
    await pool.promote("v1", {
      web: web(),
      side: app({}, { command: script, shell: true, gracefulStop: "300 milliseconds" }),
    });
    const left = async () => (await readFile(pids, "utf8").catch(() => "")).trim().split("\n").map(Number);
    await until("both", async () => (await left()).filter((pid) => pid > 0).length === 2, PATIENT);
    await pool.promote("v2", { web: web() });
    for (const pid of await left()) assert.ok(["Z", undefined].includes(readStat(pid)?.state), `${pid} lives`);
  });

  await t.test("of a megabyte is passed, or refused in a sentence where the kernel takes no more", async () => {
    const pool = await poolAgent.pool("large");
    const parts = (count: number, size: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`PART_${index}`, "x".repeat(size)]));
    await pool.promote("v1", { web: web(), side: app(parts(15, 60_000)) });
    const { pid } = (await find(client, "large", "side#0")) ?? {};
    assert.ok((await readFile(`/proc/${pid}/environ`)).length > 900_000);
    await assert.rejects(pool.promote("v2", { web: web(), side: app(parts(1, 65_537)) }), /at most 65536/);
  });

  await t.test("is remembered by the next agent: restarts, exits, what failed, what is due", async () => {
    const pool = await poolAgent.pool("adopted");
    const slow = { delay: "1 hour", cap: "1 hour", maxRestarts: 3 } as const;
    await pool.promote("v1", {
      web: web(),
      crashed: app({}, { restart: slow }),
      failed: app({}, { restart: { maxRestarts: 0 } }),
      dies: app({}, { restart: { delay: "10 milliseconds" } }),
    });
    const kill = async (key: string) => send((await find(client, "adopted", key))?.pid ?? 0, "SIGKILL");
    await kill("crashed#0");
    await kill("failed#0");
    await until(
      "both to be down",
      async () => {
        const states = [await find(client, "adopted", "crashed#0"), await find(client, "adopted", "failed#0")];
        return states.map((each) => each?.state).join() === "backoff,failed";
      },
      PATIENT,
    );
    const facts = async (key: string) => {
      const { state, restarts, restartsInWindow, lastExit, dueAt } = (await find(client, "adopted", key)) ?? {};
      return { state, restarts, restartsInWindow, lastExit, dueAt };
    };
    const before = { crashed: await facts("crashed#0"), failed: await facts("failed#0") };
    assert.equal(before.crashed.lastExit?.signal, "SIGKILL");
    const { pid } = await client.about();
    const dying = (await find(client, "adopted", "dies#0"))?.pid ?? 0;
    send(pid, "SIGKILL");
    send(dying, "SIGKILL");
    await until("another agent", async () => (await client.about()).pid !== pid, PATIENT);
    assert.deepEqual({ crashed: await facts("crashed#0"), failed: await facts("failed#0") }, before);
    await until(
      "the one that died meanwhile",
      async () => (await find(client, "adopted", "dies#0"))?.state === "running",
      PATIENT,
    );
    const { restarts, lastExit, reason } = (await find(client, "adopted", "dies#0")) ?? {};
    assert.deepEqual([restarts, lastExit?.signal, reason], [1, "SIGKILL", "crash"]);
    assert.equal((await find(client, "adopted", "web#0"))?.reason, "adopted");
  });
});
