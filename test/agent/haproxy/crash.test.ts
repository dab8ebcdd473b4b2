import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { until } from "../../support/until";
import { startLoad, upstream, World, web } from "./support/world";

for (const victim of ["worker", "master"] as const) {
  test(`after SIGKILL of the ${victim} no process is left, and apply brings HAProxy back from the files on disk`, async (t) => {
    const world = await World.open(t);
    const a = await upstream(t, "a");
    await world.haproxy.apply(world.spec(), web({ a: a.port }));
    await world.haproxy.apply(world.spec({ timeouts: { queue: "31 seconds" } }), web({ a: a.port }));
    const disk = await readFile(world.configPath, "utf8");
    const { worker, master } = await world.haproxy.observe();
    const pid = victim === "worker" ? worker?.pid : master;
    assert.ok(pid);
    const exited = new Promise<void>((resolve) => world.processes.on("exit", () => resolve()));
    const startedAt = performance.now();
    process.kill(pid, "SIGKILL");
    await exited;
    const exitAfter = performance.now() - startedAt;
    const { how } = await world.haproxy.apply(world.spec({ timeouts: { queue: "31 seconds" } }), web({ a: a.port }));
    t.diagnostic(
      `exit seen after ${Math.round(exitAfter)} ms, up again after ${Math.round(performance.now() - startedAt)} ms`,
    );
    assert.equal(how, "start");
    assert.equal((await fetch(`http://127.0.0.1:${world.port}/`)).status, 200);
    assert.equal(await readFile(world.configPath, "utf8"), disk);
    const now = await world.haproxy.observe();
    const running = await processesOf(world);
    assert.deepEqual(running, [now.master, now.worker?.pid].toSorted());
  });
}

test("a worker that cannot end by itself after its master's death is killed before the next one starts", async (t) => {
  const world = await World.open(t);
  const a = await upstream(t, "a");
  await world.haproxy.apply(world.spec(), web({ a: a.port }));
  const { worker, master } = await world.haproxy.observe();
  assert.ok(worker && master);
  const exited = new Promise<void>((resolve) => world.processes.on("exit", () => resolve()));
  process.kill(worker.pid, "SIGSTOP");
  process.kill(master, "SIGKILL");
  await exited;
  await world.haproxy.apply(world.spec(), web({ a: a.port }));
  const now = await world.haproxy.observe();
  assert.deepEqual(await processesOf(world), [now.master, now.worker?.pid].toSorted());
  const load = startLoad(world.port);
  await until("requests", () => load.requests > 50);
  await load.stop();
  assert.deepEqual(load.failures, []);
});

test("a restarted agent finds its HAProxy and changes nothing", async (t) => {
  const world = await World.open(t);
  const a = await upstream(t, "a");
  await world.haproxy.apply(world.spec(), web({ a: a.port }));
  const before = await world.haproxy.observe();
  await world.restartAgent();
  assert.deepEqual(await world.haproxy.apply(world.spec(), web({ a: a.port })), { how: "nothing", reasons: [] });
  const after = await world.haproxy.observe();
  assert.equal(after.master, before.master);
  assert.equal(after.worker?.pid, before.worker?.pid);
});

test("stop lets requests finish, and leaves no process", async (t) => {
  const world = await World.open(t);
  const a = await upstream(t, "a");
  await world.haproxy.apply(world.spec(), web({ a: a.port }));
  const held = fetch(`http://127.0.0.1:${world.port}/hold`);
  await until("the request is there", () => a.requests === 1);
  const stopped = world.haproxy.stop({ graceMs: 10_000 });
  setTimeout(() => a.release(), 300);
  assert.equal(await (await held).text(), "first last");
  await stopped;
  assert.deepEqual(await processesOf(world), []);
  const { running, file } = await world.haproxy.observe();
  assert.deepEqual({ running, file }, { running: false, file: "missing" });
});

async function processesOf(world: World): Promise<number[]> {
  const list = execFileSync("ps", ["-eo", "pid=,stat=,args="], { encoding: "utf8" });
  return list
    .split("\n")
    .filter(
      (line) =>
        line.includes(`-f ${world.configPath}`) &&
        line.includes("-W") &&
        !/^\s*\d+\s+Z/.test(line) &&
        !line.includes("/bin/sh"),
    )
    .map((line) => Number.parseInt(line, 10))
    .toSorted();
}
