import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { until } from "../../../support/until";
import { app, type PoolAgent, type Processes, startPoolAgent, type TestPool, web } from "../support/agent";

/** Of what is to fail: longer than a busy machine needs until it does. */
const AT_LEAST = { minUptime: "1 minute" } as const;

/** Phases, starts and ends of one pool in the order in which they were told. */
function story({ events }: PoolAgent, { name }: TestPool, from: number): string[] {
  return events.slice(from).flatMap(({ data }) => {
    if (data.target === `pool/${name}` && data.phase !== undefined) return [String(data.phase)];
    if (data.pool !== name || data.state === undefined) return [];
    return [`${data.key}@${data.release} ${data.state}`];
  });
}

test("a release", { concurrency: true }, async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory } = poolAgent;
  const settled = async (pool: TestPool) => {
    // Events come by a stream of their own: once one is seen that was told after all others, they are all here.
    const mark = await client.begin({
      target: `edge/mark-${pool.name}`,
      owner: { who: "t", why: pool.name, pid: 1 },
      leaseMs: 60_000,
    });
    await client.abort(mark.id, `end of ${pool.name}`);
    while (!poolAgent.events.some(({ message }) => message.includes(`end of ${pool.name}`)))
      await new Promise((resolve) => setTimeout(resolve, 5));
  };

  await Promise.all([
    t.test("starts services, companions, the proxied, is healthy, switches, and its singletons follow", async () => {
      const pool = await poolAgent.pool("order");
      const from = poolAgent.events.length;
      const trace = join(directory, "order.trace");
      const env = { TRACE: trace };
      const processes: Processes = {
        cron: app(env, { policy: "singleton" }),
        web: web({ ...env, LISTEN_AFTER: "100" }, { replicas: 2 }),
        side: app(env),
        redis: app(env, { policy: "service" }),
      };
      await pool.promote("v1", processes);
      await settled(pool);
      // Replicas start side by side.
      const once = (line: string) => line.replace(/^web#[01]@/, "web@");
      assert.deepEqual(story(poolAgent, pool, from).map(once), [
        "open",
        "start",
        "redis@v1 starting",
        "redis@v1 running",
        "side#0@v1 starting",
        "side#0@v1 running",
        "web@v1 starting",
        "web@v1 starting",
        "web@v1 running",
        "web@v1 running",
        "healthy",
        "switch",
        "follow",
        "cron@v1 starting",
        "cron@v1 running",
        "commit",
        "retire",
      ]);
      const second = poolAgent.events.length;
      await pool.promote("v2", processes);
      await settled(pool);
      const changes = story(poolAgent, pool, second);
      const before = (first: string, then: string) => {
        assert.ok(changes.includes(first) && changes.includes(then), `${first}, ${then} in ${changes.join(", ")}`);
        assert.ok(changes.indexOf(first) < changes.indexOf(then), `${first} before ${then} in ${changes.join(", ")}`);
      };
      assert.ok(!changes.some((line) => line.startsWith("redis")), "the service goes on");
      before("side#0@v2 running", "web#0@v2 starting");
      before("web#1@v2 running", "healthy");
      before("follow", "cron@v1 stopped");
      before("cron@v1 stopped", "cron@v2 starting");
      before("cron@v2 running", "commit");
      before("commit", "web#0@v1 stopped");
      before("web#0@v1 stopped", "side#0@v1 stopped");
      before("web#1@v1 stopped", "side#0@v1 stopped");
      const lines = (await readFile(trace, "utf8")).trim().split("\n");
      assert.ok(lines.indexOf("end cron@v1") < lines.indexOf("start cron@v2"), lines.join(", "));
      assert.ok(lines.lastIndexOf("end web#0@v1") < lines.indexOf("end side#0@v1"), lines.join(", "));
    }),

    t.test("that fails before the switch leaves the old one serving with its processes", async () => {
      const pool = await poolAgent.pool("failing");
      const old: Processes = { web: web(), side: app(), cron: app({}, { policy: "singleton" }) };
      await pool.promote("v1", old);
      const before = await pool.processes();
      const failures: Processes[] = [
        { ...old, web: web({ EXIT: "7:50", SAY: "no database", LISTEN_AFTER: "60000" }) },
        { ...old, side: app({ EXIT: "8", SAY: "no queue" }, AT_LEAST) },
        { ...old, web: web({}, { command: ["./missing"] }) },
        { ...old, web: web({}, { command: [join(directory, "srv", "v1", "app.cjs")] }) },
      ];
      const reasons = [
        /web#0 of pool failing \(release v2\) exited with code 7; its last output:\n {2}\| no database/,
        /side#0 of pool failing \(release v2\) exited with code 8; its last output:\n {2}\| no queue/,
        /processes\.web\.command\[0\]: .*\/missing does not exist; check the path/,
        /app\.cjs is not executable; chmod \+x it/,
      ];
      for (const [index, processes] of failures.entries()) {
        await assert.rejects(pool.promote("v2", processes), reasons[index] ?? /unreachable/);
        assert.equal(await pool.get(), "web#0@v1");
        await client.settle(pool.name);
        assert.deepEqual(await pool.processes(), before);
      }
    }),

    t.test("that is undone restarts the old one's singleton only where it had followed", async () => {
      const pool = await poolAgent.pool("untouched");
      const processes: Processes = { web: web(), cron: app({}, { policy: "singleton" }) };
      await pool.promote("v1", processes);
      const cron = async () => (await pool.processes()).get("cron@v1");
      const before = await cron();
      for (const verbs of [[], ["pool.switch"], ["pool.switch", "pool.follow"]] as const) {
        const id = await pool.start("v2", processes);
        for (const verb of verbs) await client.step(id, { verb, pool: pool.name }, () => undefined);
        await client.abort(id, "the test goes on");
        await client.settle(pool.name);
        if (verbs.length < 2) assert.deepEqual(await cron(), before, `after ${verbs.join(", ") || "the start"}`);
      }
      await until("the old one to run again", async () => (await cron())?.state === "running");
      assert.notEqual((await cron())?.pid, before?.pid);
      assert.equal((await pool.processes()).get("cron@v2"), undefined);
    }),

    t.test("that has not stayed up does not follow: the old one's singleton goes on", async () => {
      const pool = await poolAgent.pool("unsteady");
      const cron = app({}, { policy: "singleton" });
      await pool.promote("v1", { web: web(), cron });
      const before = await pool.processes();
      const refused = join(directory, "unsteady.refused");
      const side = app(
        {},
        {
          command: ["/bin/sh", "-c", 'test ! -e "$0" || { echo no lock; exit 3; }; exec sleep 600', refused],
          health: { command: ["/usr/bin/test", "!", "-e", refused] },
        },
      );
      const id = await pool.start("v2", { web: web(), side, cron });
      await client.step(id, { verb: "pool.switch", pool: pool.name }, () => undefined);
      await writeFile(refused, "");
      process.kill((await pool.processes()).get("side#0@v2")?.pid ?? 0, "SIGKILL");
      await until("it to be gone", async () => (await pool.processes()).get("side#0@v2")?.state !== "running");
      await assert.rejects(
        client.step(id, { verb: "pool.follow", pool: pool.name }, () => undefined),
        /side#0 of pool unsteady \(release v2\) exited with code 3; its last output:\n {2}\| no lock/,
      );
      await client.abort(id, "it did not stay up");
      await client.settle(pool.name);
      assert.deepEqual(await pool.processes(), before);
    }),

    t.test("whose singleton fails is undone, switch included", async () => {
      const pool = await poolAgent.pool("single");
      await pool.promote("v1", { web: web(), cron: app({}, { policy: "singleton" }) });
      const before = (await pool.processes()).get("web#0@v1")?.pid;
      await assert.rejects(
        pool.promote("v2", {
          web: web(),
          cron: app({ EXIT: "4", SAY: "no lock" }, { policy: "singleton", ...AT_LEAST }),
        }),
        /cron of pool single \(release v2\) exited with code 4; its last output:\n {2}\| no lock/,
      );
      await client.settle(pool.name);
      assert.equal(await pool.get(), "web#0@v1");
      const after = await pool.processes();
      assert.deepEqual([...after.keys()].toSorted(), ["cron@v1", "web#0@v1"]);
      assert.equal(after.get("web#0@v1")?.pid, before);
      await until("cron to run", async () => (await pool.processes()).get("cron@v1")?.state === "running");
    }),

    t.test("never has two of a singleton, however slowly the old one ends", async () => {
      const pool = await poolAgent.pool("lock");
      const lock = { LOCK: join(directory, "cron.lock"), LINGER: "300" };
      const cron = app(lock, { policy: "singleton", gracefulStop: "5 seconds" });
      for (const release of ["v1", "v2", "v3"]) await pool.promote(release, { web: web(), cron });
      assert.equal((await pool.processes()).get("cron@v3")?.state, "running");
      // Also where the new one fails, and the old one comes back.
      const failing = app({ ...lock, EXIT: "3:50" }, { policy: "singleton", gracefulStop: "5 seconds", ...AT_LEAST });
      await assert.rejects(pool.promote("v4", { web: web(), cron: failing }), /exited with code 3/);
    }),

    t.test("leaves services running, which take the newest release's template at their next start", async () => {
      const pool = await poolAgent.pool("service");
      const [port] = [pool.ports.to];
      const range = { ports: { from: pool.ports.from, to: pool.ports.to - 1 } };
      const redis = (version: string) => app({ VERSION: version }, { policy: "service", port });
      await pool.promote("v1", { web: web(), redis: redis("one") }, range);
      const pid = (await pool.processes()).get("redis@v1")?.pid ?? 0;
      await pool.promote("v2", { web: web(), redis: redis("two") }, range);
      const about = async () => JSON.parse(await (await fetch(`http://127.0.0.1:${port}/about`)).text());
      assert.deepEqual([(await about()).pid, (await about()).env.VERSION], [pid, "one"]);
      process.kill(pid, "SIGKILL");
      let now: { pid: number; env: Record<string, string> } | undefined;
      while (now === undefined || now.pid === pid) now = await about().catch(() => undefined);
      assert.deepEqual([now.env.VERSION, now.env.SLUICE_RELEASE_ID], ["two", "v2"]);
    }),
  ]);
});
