import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import type { AgentClient } from "../../../../src/agent/client/client";
import { send } from "../../../../src/agent/processes/identity";
import { until } from "../../../support/until";
import { app, startPoolAgent, web } from "../support/agent";
import { load } from "../support/load";

async function processOf(client: AgentClient, pool: string, key: string) {
  const found = (await client.pool(pool))?.processes.find((each) => each.key === key && each.state !== "stopped");
  assert(found, `${key} of pool ${pool}`);
  return found;
}

test("restarts", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client } = poolAgent;

  await t.test("one replica drains first, and no request fails", async () => {
    const pool = await poolAgent.pool("one");
    await pool.promote("v1", { web: web({}, { replicas: 2 }), side: app() });
    const before = await pool.processes();
    const end = load(pool.url);
    const { restarted } = await client.restart("one", { process: "web", replica: 1 });
    const { requests, failures } = await end();
    const after = await pool.processes();
    assert.deepEqual({ restarted, failures }, { restarted: ["web#1"], failures: [] });
    assert.ok(requests > 0);
    assert.notEqual(after.get("web#1@v1")?.pid, before.get("web#1@v1")?.pid);
    for (const other of ["web#0@v1", "side#0@v1"])
      assert.deepEqual([other, after.get(other)?.pid], [other, before.get(other)?.pid]);
    const { state, reason, health } = await processOf(client, "one", "web#1");
    assert.deepEqual({ state, reason, health }, { state: "running", reason: "manual", health: "healthy" });
    const restarts = poolAgent.events.filter(({ data }) => data.key === "web#1" && data.reason === "manual");
    assert.deepEqual(
      restarts.map(({ data }) => `${data.old} -> ${data.state}`),
      [
        "running -> draining",
        "draining -> stopping",
        "stopping -> stopped",
        "stopped -> starting",
        "starting -> running",
      ],
    );
  });

  await t.test("all replicas one after the other, and no request fails", async () => {
    const pool = await poolAgent.pool("rolling");
    await pool.promote("v1", { web: web({}, { replicas: 2 }), side: app(), jobs: app({}, { policy: "singleton" }) });
    const before = await pool.processes();
    const end = load(pool.url);
    const { restarted } = await client.restart("rolling", { rolling: true });
    assert.deepEqual((await end()).failures, []);
    assert.deepEqual(restarted, ["side#0", "web#0", "web#1", "jobs"]);
    const after = await pool.processes();
    for (const [key, { pid }] of before) assert.notEqual(after.get(key)?.pid, pid, key);
  });

  await t.test("what would cut the traffic is refused, and so is what does not exist", async () => {
    const pool = await poolAgent.pool("refused");
    await pool.promote("v1", { web: web(), side: app({}, { replicas: 2 }) });
    const refused = async (request: Parameters<typeof client.restart>[1]) =>
      client.restart("refused", request).then(
        () => "done",
        ({ code, message }) => `${code}: ${message}`,
      );
    const before = await pool.processes();
    const only = /^would-cut: .*web#0 is the only replica that takes the traffic: declare a second replica/;
    assert.match(await refused({}), only);
    assert.match(await refused({ process: "web", rolling: true }), only);
    assert.match(
      await refused({ process: "wbe" }),
      /^unknown-process: pool refused has no process wbe: use one of side#0, side#1, web#0$/,
    );
    assert.match(await refused({ process: "side", replica: 2 }), /has no process side replica 2/);
    assert.deepEqual(await pool.processes().then((all) => [...all].map(([key, { pid }]) => [key, pid])), [
      ...[...before].map(([key, { pid }]) => [key, pid]),
    ]);
    assert.equal(await refused({ process: "side" }), "done");
    await pool.promote("v1", { web: web({}, { replicas: 2 }), side: app({}, { replicas: 2 }) });
    assert.match(
      await refused({ process: "web" }),
      /^would-cut: .*web#0, web#1 are all the replicas that take the traffic: restart them rolling/,
    );
    const { id } = await client.begin({
      target: "pool/refused",
      owner: { who: "ana", why: "x", pid: 1 },
      leaseMs: 60_000,
    });
    assert.match(await refused({ process: "side" }), /^held: pool refused is held by a transaction of ana/);
    await client.abort(id, "done");
    await assert.rejects(client.restart("nowhere"), { code: "not-found" });
  });

  await t.test("a failed process is reported, and started again", async () => {
    const pool = await poolAgent.pool("failing");
    const restart = { delay: "10 milliseconds", maxRestarts: 2, window: "10 minutes" } as const;
    const crashing = app({ EXIT: "7:1000" }, { restart });
    await pool.promote("v1", { web: web(), side: crashing });
    await until("it to fail", async () => (await processOf(client, "failing", "side#0")).state === "failed", {
      deadlineMs: 60_000,
    });
    const { state, reason, restarts, restartsInWindow, maxRestarts, lastExit, pid } = await processOf(
      client,
      "failing",
      "side#0",
    );
    assert.deepEqual(
      { state, reason, restarts, restartsInWindow, maxRestarts, code: lastExit?.code, pid },
      { state: "failed", reason: "crash", restarts: 2, restartsInWindow: 2, maxRestarts: 2, code: 7, pid: undefined },
    );
    assert.match(
      poolAgent.events.find(({ data }) => data.pool === "failing" && data.state === "failed")?.message ?? "",
      /^side#0 of pool failing \(release v1\) exited with code 7 and has failed: it was started again 2 times within 10 minutes; see its output, then restart it, or deploy$/,
    );
    assert.equal((await client.pool("failing"))?.live.processes["side#0"], "failed");
    assert.deepEqual(await client.restart("failing", { process: "side" }), { restarted: ["side#0"] });
    const restarted = await processOf(client, "failing", "side#0");
    assert.deepEqual([restarted.restartsInWindow, restarted.reason], [0, "manual"]);
    assert.equal((await processOf(client, "failing", "web#0")).restarts, 0);
  });

  await t.test("goes on where the agent dies, and gives nobody's traffic to what is down", async () => {
    const pool = await poolAgent.pool("resumed");
    const go = join(poolAgent.directory, "resumed.go");
    const wait = ["/bin/sh", "-c", `while [ ! -e ${go} ]; do sleep 0.05; done`];
    await pool.promote("v1", { web: web({}, { replicas: 2, lifecycle: { drain: wait, drainTimeout: "1 minute" } }) });
    const before = await pool.processes();
    const end = load(pool.url);
    const restarting = client.restart("resumed", { process: "web", replica: 0 }).catch((error: Error) => error);
    const stateOf = async () => (await client.pool("resumed"))?.processes.find(({ key }) => key === "web#0")?.state;
    await until("it to drain", async () => (await stateOf()) === "draining");
    const { pid } = await client.about();
    send(pid, "SIGKILL");
    assert.ok((await restarting) instanceof Error);
    await until("another agent", async () => (await client.about()).pid !== pid);
    assert.equal(await stateOf(), "draining");
    assert.equal((await client.pool("resumed"))?.live.servers["web#0"]?.state, "missing");
    await writeFile(go, "");
    const live = async () => (await client.pool("resumed"))?.live;
    await until("its traffic", async () => (await live())?.servers["web#0"]?.state === "ready", { deadlineMs: 60_000 });
    assert.deepEqual((await end()).failures, []);
    const after = await pool.processes();
    assert.notEqual(after.get("web#0@v1")?.pid, before.get("web#0@v1")?.pid);
    assert.equal(after.get("web#1@v1")?.pid, before.get("web#1@v1")?.pid);
    assert.deepEqual((await live())?.processes, { "web#0": "running", "web#1": "running" });
  });
});
