import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import test from "node:test";
import { isDead, readStat } from "../../../../src/agent/processes/identity";
import { until } from "../../../support/until";
import { app, startPoolAgent, type TestPool, web } from "../support/agent";

/** A WebSocket of raw bytes through the edge; the app echoes. */
async function webSocket({ edgePort }: TestPool): Promise<Socket> {
  const socket = connect(edgePort, "127.0.0.1");
  socket.write(
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  const [head] = (await once(socket, "data")) as [Buffer];
  assert.match(head.toString(), /^HTTP\/1\.1 101/);
  return socket;
}

async function echo(socket: Socket, text: string): Promise<void> {
  socket.write(text);
  const [back] = (await once(socket, "data")) as [Buffer];
  assert.equal(back.toString(), text);
}

/** Whether a process is gone; a zombie that nobody has waited for is. */
function isGone(pid: number): boolean {
  const stat = readStat(pid);
  return stat === undefined || isDead(stat);
}

test("an old release", { concurrency: true }, async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, events } = poolAgent;

  await Promise.all([
    t.test("finishes slow responses and WebSockets before it stops", async () => {
      const pool = await poolAgent.pool("patient");
      await pool.promote("v1", { web: web() });
      const socket = await webSocket(pool);
      const slow = pool.get("/slow?ms=2000");
      // It is at the app once the server counts it.
      await until("both to be on the old release", async () => {
        const { observed } = (await client.edge("patient")) ?? {};
        return Object.values(observed?.backends.patient ?? {}).some(({ sessions }) => sessions >= 2);
      });
      await pool.promote("v2", { web: web() }, { settle: false, drainDeadline: "1 minute" });
      assert.equal(await pool.get(), "web#0@v2");
      await echo(socket, "still here");
      await until("it to drain", async () => (await pool.processes()).get("web#0@v1")?.state === "draining");
      assert.equal(await slow, "web#0@v1");
      await echo(socket, "and now");
      socket.end();
      await client.settle(pool.name);
      assert.deepEqual([...(await pool.processes()).keys()], ["web#0@v2"]);
    }),

    t.test("is cut at its drain deadline, not before", async () => {
      const pool = await poolAgent.pool("deadline");
      const processes = { web: web() };
      await pool.promote("v1", processes, { drainDeadline: "2 seconds" });
      const socket = await webSocket(pool);
      socket.on("error", () => undefined);
      const closed = once(socket, "close");
      await pool.promote("v2", processes, { settle: false, drainDeadline: "2 seconds" });
      const since = performance.now();
      await echo(socket, "still here");
      await closed;
      // From the commit, which was a little before.
      assert.ok(performance.now() - since > 1000, `cut after ${performance.now() - since} ms`);
      await client.settle(pool.name);
      assert.deepEqual([...(await pool.processes()).keys()], ["web#0@v2"]);
    }),

    t.test("that ignores its signal is killed after its time", async () => {
      const pool = await poolAgent.pool("stubborn");
      const processes = { web: web({ STUBBORN: "1" }), side: app({ STUBBORN: "1" }) };
      await pool.promote("v1", processes);
      const pids = [...(await pool.processes()).values()].map(({ pid }) => pid ?? 0);
      await pool.promote("v2", processes);
      for (const pid of pids) assert.ok(isGone(pid), `process ${pid} lives`);
      const stops = events.filter(
        ({ data }) => data.pool === "stubborn" && data.release === "v1" && data.state === "stopped",
      );
      assert.deepEqual(
        stops.map(({ data }) => [data.key, (data.exit as { signal: string }).signal]),
        [
          ["web#0", "SIGKILL"],
          ["side#0", "SIGKILL"],
        ],
      );
    }),
  ]);
});

test("replicas", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const pool = await poolAgent.pool("many");
  const pids = async (): Promise<Record<string, number | undefined>> =>
    Object.fromEntries([...(await pool.processes())].map(([key, { pid }]) => [key, pid]));

  await t.test("come and go live: the others stay as they are", async () => {
    await pool.promote("v1", { web: web({}, { replicas: 2 }) });
    const two = await pids();
    await pool.promote("v1", { web: web({}, { replicas: 4 }) });
    const four = await pids();
    assert.deepEqual(Object.keys(four).toSorted(), ["web#0@v1", "web#1@v1", "web#2@v1", "web#3@v1"]);
    assert.deepEqual([four["web#0@v1"], four["web#1@v1"]], [two["web#0@v1"], two["web#1@v1"]]);
    const answers = await Promise.all(Array.from({ length: 40 }, () => pool.get()));
    assert.deepEqual([...new Set(answers)].toSorted(), ["web#0@v1", "web#1@v1", "web#2@v1", "web#3@v1"]);
    await pool.promote("v1", { web: web({}, { replicas: 1 }) });
    assert.deepEqual(await pids(), { "web#0@v1": two["web#0@v1"] });
  });

  await t.test("are started again one by one when they crash, after a delay", async () => {
    await pool.promote("v1", { web: web({}, { replicas: 2 }) });
    const before = await pids();
    const crashed = performance.now();
    process.kill(before["web#1@v1"] ?? 0, "SIGKILL");
    await until("it to be seen", async () => (await pool.processes()).get("web#1@v1")?.state === "backoff");
    const now = await until<Record<string, number | undefined> | undefined>("it to run again", async () => {
      const after = await pids();
      return after["web#1@v1"] !== undefined && after["web#1@v1"] !== before["web#1@v1"] ? after : undefined;
    });
    assert.ok(performance.now() - crashed >= 900, `${performance.now() - crashed} ms`);
    assert.equal(now["web#0@v1"], before["web#0@v1"]);
    const status = (await poolAgent.client.pool("many"))?.processes.find(({ key }) => key === "web#1");
    assert.equal(status?.restarts, 1);
    assert.equal(await pool.get().then((text) => text.endsWith("@v1")), true);
  });
});
