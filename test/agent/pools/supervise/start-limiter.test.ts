import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { startAgent } from "../../../../src/agent/client/launch";
import { READY_WAIT_MS, STARTS_AT_ONCE, StartLimiter } from "../../../../src/agent/pools/supervise/start-limiter";
import type { AgentEvent } from "../../../../src/model/protocol/transaction";
import { powerCut } from "../../../faults/support/host";
import { until } from "../../../support/until";
import { app, startPoolAgent, web } from "../support/agent";

/** A promise that the test settles. */
function settled() {
  let settle: () => void = () => undefined;
  const promise = new Promise<void>((resolve) => {
    settle = resolve;
  });
  return { promise, settle };
}

const turns = () => new Promise(setImmediate);

test("so many start at once, in their order, and the next one once one is up, has failed, or takes too long", async () => {
  const late = settled();
  const limiter = new StartLimiter(2, () => late.promise);
  const begun: string[] = [];
  const ups = ["a", "b", "c", "d", "e", "f"].map((name) => ({ name, ...settled() }));
  const runs = ups.map(({ name, promise }) =>
    limiter.run(async () => {
      begun.push(name);
      if (name === "c") throw new Error("c does not start");
      return { up: promise };
    }),
  );
  runs[2]?.catch(() => undefined);
  const seen = async () => {
    await turns();
    return begun.join("");
  };
  assert.equal(await seen(), "ab");
  ups[1]?.settle();
  // The third one fails, so that its place is the fourth one's.
  assert.equal(await seen(), "abcd");
  await assert.rejects(async () => runs[2], /c does not start/);
  late.settle();
  assert.equal(await seen(), "abcdef");
  await Promise.all([runs[0], runs[1], runs[3], runs[4], runs[5]]);
});

test("after a reboot everything that was committed starts again, in order, only some at once", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const pool = await poolAgent.pool("many");
  const command = ["/bin/sh", "-c", "exec sleep 1000"];
  const replicas = 3 * STARTS_AT_ONCE;
  const port = pool.ports.to;
  await pool.promote(
    "v1",
    {
      web: web(),
      side: app({}, { command, replicas }),
      alone: app({}, { command, policy: "singleton" }),
      queue: app({}, { command, policy: "service", port }),
    },
    { ports: { from: pool.ports.from, to: port - 1 } },
  );
  await powerCut(poolAgent.directory);
  const since = new Date().toISOString();
  await startAgent(poolAgent.directory, poolAgent.socket, AbortSignal.timeout(120_000));
  await until(
    "all to run",
    async () => {
      const states = [...(await pool.processes()).values()].map(({ state }) => state);
      return states.length === replicas + 3 && states.every((state) => state === "running");
    },
    { deadlineMs: 120_000 },
  );
  const lines = (await readFile(join(poolAgent.directory, "events.ndjson"), "utf8")).split("\n").slice(0, -1);
  const events = lines.map((line) => JSON.parse(line) as AgentEvent).filter(({ at }) => at >= since);
  const began = new Map<string, number>();
  const order: string[] = [];
  for (const { at, data } of events) {
    const key = String(data.key);
    const now = Date.parse(at);
    if (data.state === "running") began.delete(key);
    if (data.state !== "starting") continue;
    const others = [...began.values()].filter((start) => now - start < READY_WAIT_MS);
    assert.ok(others.length < STARTS_AT_ONCE, `${key} starts beside ${others.length} others`);
    began.set(key, now);
    order.push(key.replace(/#.*/, ""));
  }
  assert.deepEqual(order, ["queue", ...Array.from({ length: replicas }, () => "side"), "web", "alone"]);
  assert.ok(events.filter(({ data }) => data.state === "starting").every(({ data }) => data.reason === "adopted"));
  assert.equal((await fetch(`${pool.url}/healthz`)).status, 200);
});
