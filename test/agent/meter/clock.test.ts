import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { Tail } from "../../../src/agent/meter/tail";
import { startHarness } from "../../support/harness";
import { startServer } from "../../support/server";
import { until } from "../../support/until";

test("a clock that is set back by an hour keeps no requests from the meter", async (t) => {
  const agent = await startHarness(t, {
    backends: { web: await startServer(t, (_, response) => response.end("hello")) },
    meter: true,
  });
  let aheadMs = 3_600_000;
  const tail = new Tail({
    socket: join(agent.directory, "edges", "main", "worker.sock"),
    now: () => Date.now() + aheadMs,
    batch: () => undefined,
    line: () => undefined,
    lost: () => undefined,
  });
  t.after(() => tail.close());
  await until("it to read", () => tail.connected === 1);
  const request = async () => (await fetch(agent.url)).text();
  await request();
  aheadMs = 0;
  await tail.poll();
  const before = tail.lines;
  await until("lines", async () => {
    await request();
    return tail.lines > before + 5;
  });
  assert.equal(tail.malformed, 0);
});
