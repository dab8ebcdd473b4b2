import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { startAgent } from "../../../../src/agent/client/launch";
import { allStats, commandOf, isAlive, readStat, send } from "../../../../src/agent/processes/identity";
import { runningAgent } from "../../../faults/support/host";
import { until } from "../../../support/until";
import { startPoolAgent, web } from "../support/agent";

const MiB = 1024 * 1024;
/** Writes as fast as its disk takes it, answers its health checks, and dies where it can't write. */
const FLOOD = `
const { writeSync } = require("node:fs");
require("node:http").createServer((_, response) => response.end("ok")).listen(Number(process.env.SLUICE_PORT), "127.0.0.1");
const block = Buffer.alloc(1024 * 1024, "x".repeat(1023) + "\\n");
const write = () => { writeSync(1, block); setImmediate(write); };
write();
`;

test("a flood of output is bounded while no agent runs, and its process runs on", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const pool = await poolAgent.pool("flood");
  const folder = join(poolAgent.directory, "processes");
  await pool.promote("v1", {
    web: web({}, { command: [process.execPath, "-e", FLOOD], output: { maxSize: "1 MiB", keep: 1 } }),
  });
  const { pid = 0, port } = (await pool.processes()).get("web#0@v1") ?? {};
  const truncators = async () => {
    const all = await Promise.all(
      (await allStats()).map(async ({ pid: each }) => [each, await commandOf(each)] as const),
    );
    return all.flatMap(([each, command]) => (command.includes(`sluice-truncator ${folder} `) ? [each] : []));
  };
  const onDisk = async () => {
    const found = await readdir(join(folder, "flood.1.web.0"));
    const sizes = await Promise.all(
      found.map((name) =>
        stat(join(folder, "flood.1.web.0", name)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  };
  const [first = 0] = await until("somebody to take over from the agent", async () => {
    const found = await truncators();
    return found.length === 1 ? found : undefined;
  });

  await t.test("one that takes over is there again after it was killed", async () => {
    send(first, "SIGKILL");
    await until("another one", async () => (await truncators()).some((each) => each !== first), { deadlineMs: 60_000 });
  });

  const { agent, guard } = await runningAgent(poolAgent.directory);
  send(guard.pid, "SIGKILL");
  send(agent.pid, "SIGKILL");
  await until("the agent to be gone", () => !isAlive(agent));

  await t.test("what it writes is cut again and again", async () => {
    const app = readStat(pid);
    assert.ok(app);
    const written = async () => Number(/wchar: (\d+)/.exec(await readFile(`/proc/${pid}/io`, "utf8"))?.[1] ?? 0);
    const before = await written();
    await until(
      "it to write 256 MiB, most of which is not kept",
      async () => {
        const since = (await written()) - before;
        return since > 256 * MiB && (await onDisk()) < since / 2;
      },
      { deadlineMs: 300_000, intervalMs: 50 },
    );
    assert.ok(isAlive(app));
    assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200);
  });

  await t.test("the next agent supervises it again, and its stand-in is gone", async () => {
    await startAgent(poolAgent.directory, poolAgent.socket, AbortSignal.timeout(120_000));
    assert.equal((await pool.processes()).get("web#0@v1")?.pid, pid);
    await until("one that waits, and no other", async () => (await truncators()).length === 1, { deadlineMs: 60_000 });
    await until("the output to be cut by the agent", async () => (await onDisk()) < 256 * MiB, { deadlineMs: 60_000 });
    assert.equal((await fetch(pool.url)).status, 200);
  });

  await t.test("nobody stays where nothing runs", async () => {
    const now = await runningAgent(poolAgent.directory);
    send(now.guard.pid, "SIGKILL");
    send(now.agent.pid, "SIGKILL");
    for (const { pid: each } of await poolAgent.processes()) send(each, "SIGKILL");
    await until("it to end", async () => (await truncators()).length === 0, { deadlineMs: 60_000 });
  });
});
