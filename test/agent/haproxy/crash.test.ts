import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { assertNoForeign } from "../../../src/agent/haproxy/runtime/orphan-workers";
import { until } from "../../support/until";
import { startLoad, TestEdge, upstream, web } from "./support/edge";

for (const victim of ["worker", "master"] as const) {
  test(`after SIGKILL of the ${victim} no process is left, and apply brings HAProxy back from the files on disk`, async (t) => {
    const edge = await TestEdge.open(t);
    const a = await upstream(t, "a");
    await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
    await edge.haproxy.apply(edge.spec({ timeouts: { queue: "31 seconds" } }), web({ a: a.port }));
    const disk = await readFile(edge.configPath, "utf8");
    const { worker, master } = await edge.haproxy.observe();
    const pid = victim === "worker" ? worker?.pid : master;
    assert.ok(pid);
    const exited = new Promise<void>((resolve) => edge.processes.on("exit", () => resolve()));
    const startedAt = performance.now();
    process.kill(pid, "SIGKILL");
    await exited;
    const exitAfter = performance.now() - startedAt;
    const { how } = await edge.haproxy.apply(edge.spec({ timeouts: { queue: "31 seconds" } }), web({ a: a.port }));
    t.diagnostic(
      `exit seen after ${Math.round(exitAfter)} ms, up again after ${Math.round(performance.now() - startedAt)} ms`,
    );
    assert.equal(how, "start");
    assert.equal((await fetch(`http://127.0.0.1:${edge.port}/`)).status, 200);
    assert.equal(await readFile(edge.configPath, "utf8"), disk);
    const now = await edge.haproxy.observe();
    const running = await processesOf(edge);
    assert.deepEqual(running, [now.master, now.worker?.pid].toSorted());
  });
}

test("a worker that cannot end by itself after its master's death is killed before the next one starts", async (t) => {
  const edge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const { worker, master } = await edge.haproxy.observe();
  assert.ok(worker && master);
  const exited = new Promise<void>((resolve) => edge.processes.on("exit", () => resolve()));
  process.kill(worker.pid, "SIGSTOP");
  process.kill(master, "SIGKILL");
  await exited;
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const now = await edge.haproxy.observe();
  assert.deepEqual(await processesOf(edge), [now.master, now.worker?.pid].toSorted());
  const load = startLoad(edge.port);
  await until("requests", () => load.requests > 50);
  await load.stop();
  assert.deepEqual(load.failures, []);
});

test("a HAProxy whose environment can't be read for a moment, as it starts or ends, is not taken for another agent's", async (t) => {
  const edge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const pids = new Set<number>();
  const ownsOnSecondLook = (pid: number) => pids.size === pids.add(pid).size;
  await assertNoForeign(edge.configPath, ownsOnSecondLook);
  const { master, worker } = await edge.haproxy.observe();
  assert.ok(master && worker && pids.has(master) && pids.has(worker.pid));
  await assert.rejects(
    assertNoForeign(edge.configPath, () => false),
    new RegExp(`HAProxy of another agent, .* runs with ${edge.configPath} .*${master}`),
  );
});

test("a restarted agent finds its HAProxy and changes nothing", async (t) => {
  const edge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const before = await edge.haproxy.observe();
  await edge.restartAgent();
  assert.deepEqual(await edge.haproxy.apply(edge.spec(), web({ a: a.port })), { how: "nothing", reasons: [] });
  const after = await edge.haproxy.observe();
  assert.equal(after.master, before.master);
  assert.equal(after.worker?.pid, before.worker?.pid);
});

test("stop lets requests finish, and leaves no process", async (t) => {
  const edge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const held = fetch(`http://127.0.0.1:${edge.port}/hold`);
  await until("the request is there", () => a.requests === 1);
  const stopped = edge.haproxy.stop({ graceMs: 10_000 });
  setTimeout(() => a.release(), 300);
  assert.equal(await (await held).text(), "first last");
  await stopped;
  assert.deepEqual(await processesOf(edge), []);
  const { running, file } = await edge.haproxy.observe();
  assert.deepEqual({ running, file }, { running: false, file: "missing" });
});

async function processesOf(edge: TestEdge): Promise<number[]> {
  const list = execFileSync("ps", ["-eo", "pid=,stat=,args="], { encoding: "utf8" });
  return list
    .split("\n")
    .filter(
      (line) =>
        line.includes(`-f ${edge.configPath}`) &&
        line.includes("-W") &&
        !/^\s*\d+\s+Z/.test(line) &&
        !line.includes("/bin/sh"),
    )
    .map((line) => Number.parseInt(line, 10))
    .toSorted();
}
