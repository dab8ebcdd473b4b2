import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { until } from "../../../support/until";
import { app, startPoolAgent, web } from "../support/agent";
import { load } from "../support/load";

const APP = join(__dirname, "../../../fixtures/pools/memory.cjs");
const MIB = 1024 * 1024;
const PATIENT = { deadlineMs: 60_000 };

test("memory", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, events } = poolAgent;
  const command = [process.execPath, APP];
  const messagesOf = (pool: string, text: RegExp) =>
    events.filter(({ data, message }) => data.pool === pool && text.test(message)).map(({ message }) => message);
  const memoryOf = async (pool: string, key: string) =>
    (await client.pool(pool))?.processes.find((each) => each.key === key)?.memoryBytes ?? 0;

  await t.test("is that of the whole group, and told", async () => {
    const pool = await poolAgent.pool("group");
    await pool.promote("v1", { web: web(), side: app({ MEGABYTES: "60", CHILD: "80" }, { command }) });
    const enough = async () => (await memoryOf("group", "side#0")) > 140 * MIB;
    await until("both to be counted", enough, PATIENT);
    // Two Node.js processes share their program, which is counted once.
    assert.ok((await memoryOf("group", "side#0")) < 400 * MIB);
  });

  await t.test("above its warning is said once", async () => {
    const pool = await poolAgent.pool("warned");
    const memory = { limit: "8 GiB", warning: "50 MiB", interval: "100 milliseconds" } as const;
    await pool.promote("v1", { web: web(), side: app({ MEGABYTES: "60" }, { command, memory }) });
    const warnings = () => messagesOf("warned", /has .* MiB and is above its memory warning of 50 MiB$/);
    await until("the warning", () => warnings().length > 0, PATIENT);
    const { pid } = (await pool.processes()).get("side#0@v1") ?? {};
    await client.restart("warned", { process: "side" });
    await until("the warning of its next run", () => warnings().length === 2, PATIENT);
    assert.notEqual((await pool.processes()).get("side#0@v1")?.pid, pid);
  });

  await t.test("at its limit restarts a replica, and no request fails", async () => {
    const pool = await poolAgent.pool("limit");
    const memory = { limit: "300 MiB", interval: "100 milliseconds" } as const;
    const restart = { delay: "100 milliseconds" } as const;
    await pool.promote("v1", {
      web: web({ GROW: "300" }, { command, replicas: 2, memory, restart, health: { path: "/" } }),
    });
    const before = await pool.processes();
    const end = load(pool.url);
    const { port } = before.get("web#0@v1") ?? {};
    await fetch(`http://127.0.0.1:${port}/grow`);
    await until(
      "it to run again",
      async () => {
        const now = (await pool.processes()).get("web#0@v1");
        return now?.state === "running" && now.pid !== before.get("web#0@v1")?.pid;
      },
      PATIENT,
    );
    await until(
      "its traffic",
      async () => (await client.pool("limit"))?.live.servers["web#0"]?.state === "ready",
      PATIENT,
    );
    const { failures, requests } = await end();
    assert.deepEqual(failures, []);
    assert.ok(requests > 0);
    assert.equal((await pool.processes()).get("web#1@v1")?.pid, before.get("web#1@v1")?.pid);
    const status = (await client.pool("limit"))?.processes.find(({ key }) => key === "web#0");
    assert.deepEqual([status?.reason, status?.restarts, status?.restartsInWindow], ["memory", 1, 1]);
  });

  await t.test("never takes the last replica from the traffic", async () => {
    const pool = await poolAgent.pool("last");
    const memory = { limit: "8 GiB", interval: "100 milliseconds" } as const;
    const both = web({ MEGABYTES: "60" }, { command, replicas: 2, memory, health: { path: "/" } });
    await pool.promote("v1", { web: both });
    const restart = { delay: "10 milliseconds", maxRestarts: 1 } as const;
    // Live: below what they need to start.
    const small = { ...memory, limit: "50 MiB" } as const;
    const end = load(pool.url);
    await pool.promote("v1", { web: { ...both, memory: small, restart } });
    const states = async () => [...(await pool.processes()).values()].map(({ state }) => state).toSorted();
    await until("one to fail", async () => (await states()).includes("failed"), PATIENT);
    await until(
      "the other to be kept",
      () => messagesOf("last", /, but web#\d is the only replica that takes the traffic/).length > 0,
      PATIENT,
    );
    assert.deepEqual(await states(), ["failed", "running"]);
    assert.deepEqual((await end()).failures, []);
  });

  await t.test("a limit below what it starts with makes it fail, not loop", async () => {
    const pool = await poolAgent.pool("small");
    const memory = { limit: "20 MiB", interval: "100 milliseconds" } as const;
    const restart = { delay: "10 milliseconds", maxRestarts: 2 } as const;
    await pool.promote("v1", { web: web(), side: app({ MEGABYTES: "60" }, { command, memory, restart }) });
    const side = async () => (await client.pool("small"))?.processes.find(({ key }) => key === "side#0");
    await until("it to fail", async () => (await side())?.state === "failed", PATIENT);
    const { reason, restartsInWindow, pid } = (await side()) ?? {};
    assert.deepEqual([reason, restartsInWindow, pid], ["memory", 2, undefined]);
    assert.equal(await pool.get(), "web#0@v1");
  });
});
