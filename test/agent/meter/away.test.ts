import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { reload, showProcesses } from "../../../src/agent/haproxy/runtime/master";
import { ask } from "../../../src/agent/haproxy/runtime/runtime-api";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { startHarness } from "../../support/harness";
import { startServer } from "../../support/server";
import { until } from "../../support/until";

/** CPU time that all workers together may take in a second in which nothing is asked of them, in ticks of 10 ms. */
const IDLE_TICKS = 3;
const LOOK_SECONDS = 2;

async function ticks(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

function upstream(t: TestContext) {
  return startServer(t, (request, response) => {
    if (request.url === "/hang") response.write("begun");
    else response.end("hello");
  });
}

test("HAProxy takes no time for a meter that is away, loses no line by a reload, and its old workers end", async (t) => {
  const agent = await startHarness(t, { backends: { web: await upstream(t) }, meter: true });
  const { port } = agent;
  const frontends = { http: { binds: [{ port }], defaultBackend: "web" } };
  const edge = (maxConnections: number): StepInput => {
    return { verb: "edge.set", edge: "main", spec: { frontends, meter: true, maxConnections } };
  };
  const folder = join(agent.directory, "edges", "main");
  const master = join(folder, "master.sock");
  const workers = async () => {
    const { worker, oldWorkers } = await showProcesses(master, { retry: true });
    return [worker, ...oldWorkers].flatMap((one) => one?.pid ?? []);
  };
  const request = async () => (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } })).text();
  const hang = () =>
    new Promise<() => void>((resolve, reject) => {
      const call = get({ host: "127.0.0.1", port, path: "/hang", agent: false }, (response) => {
        response.on("error", () => undefined).resume();
        resolve(() => call.destroy());
      });
      call.on("error", reject);
    });

  const from = Date.now() - 1000;
  let sent = 0;
  for (let round = 0; round < 3; round++) {
    for (let count = 0; count < 20; count++, sent++) await request();
    await agent.change("edge/main", edge(1001 + round));
  }
  for (let count = 0; count < 20; count++, sent++) await request();
  const counted = async () => (await agent.client.sli({ edge: "main", from, to: Date.now() })).counts.requests;
  await until("every line of every worker", async () => (await counted()) === sent);
  await until("the old workers to have ended", async () => (await workers()).length === 1);

  // Nobody reads any more: neither from workers that finish what they have, nor from the newest one.
  process.kill(agent.guard, "SIGKILL");
  process.kill(agent.about.pid, "SIGKILL");
  const release: (() => void)[] = [];
  t.after(() => release.map((end) => end()));
  for (let round = 0; round < 2; round++) {
    release.push(await hang());
    for (let count = 0; count < 50; count++) await request();
    await reload(master, async () => []);
  }
  for (let count = 0; count < 50; count++) await request();
  assert.equal((await workers()).length, 3);
  assert.match(await ask(join(folder, "worker.sock"), "show events"), /meter .*type=buffer, 0 dropped/);
  const took = async () => {
    const pids = await workers();
    const before = await Promise.all(pids.map(ticks));
    await sleep(LOOK_SECONDS * 1000);
    const after = await Promise.all(pids.map(ticks));
    return after.reduce((sum, now, index) => sum + now - (before[index] ?? 0), 0);
  };
  await until("its workers to be idle", async () => (await took()) <= IDLE_TICKS * LOOK_SECONDS);
});
