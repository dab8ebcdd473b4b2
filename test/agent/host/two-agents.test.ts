import assert from "node:assert/strict";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { isAlive, readStat } from "../../../src/agent/processes/identity";
import { endEverything, startTestAgent } from "../../support/agent";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { startPoolAgent, web } from "../pools/support/agent";
import { load } from "../pools/support/load";

test("an agent whose folder was moved away leaves its HAProxy as it is, also where another folder lies in its place", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const pool = await poolAgent.pool("web");
  await pool.promote("v1", { web: web() });
  const { directory, events } = poolAgent;
  const before = await poolAgent.settledPids();
  const requests = load(pool.url);
  t.after(requests);
  const moved = `${directory}.moved`;
  t.after(async () => {
    await endEverything(moved);
    await rm(moved, { recursive: true });
  });
  await rename(directory, moved);
  await mkdir(join(directory, "edges", "web"), { recursive: true });
  const refused =
    /edge web could not be restored yet: \S+\/agent\.pid is not this agent's any more: put its own state folder back/;
  await until("the agent to leave it", () => events.some(({ message }) => refused.test(message)));
  for (const pid of before) assert.notEqual(readStat(pid), undefined, `process ${pid} runs on`);
  assert.deepEqual((await requests()).failures, []);
});

test("an agent whose lock was deleted still starts a HAProxy that has died", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const pool = await poolAgent.pool("web");
  await pool.promote("v1", { web: web() });
  const { master = 0 } = (await poolAgent.client.edge("web"))?.observed ?? assert.fail();
  await rm(join(poolAgent.directory, "agent.pid"));
  process.kill(master, "SIGKILL");
  await until("another HAProxy", async () => {
    const { running, master: next } = (await poolAgent.client.edge("web"))?.observed ?? assert.fail();
    return running && next !== master;
  });
  assert.equal(await pool.get(), "web#0@v1");
});

test("an agent whose path another one has got ends, and neither touches what the other runs", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const pool = await poolAgent.pool("web");
  await pool.promote("v1", { web: web() });
  const { directory, about, guard } = poolAgent;
  const agent = { pid: about.pid, startTime: readStat(about.pid)?.startTime ?? assert.fail() };
  await poolAgent.settledPids();
  const before = await poolAgent.processes();
  const stop = load(pool.url);
  t.after(stop);

  const moved = `${directory}.moved`;
  t.after(async () => {
    await endEverything(moved);
    await rm(moved, { recursive: true });
  });
  await rename(directory, moved);
  const other = await startTestAgent(t, { directory });
  await until("the first agent to end", () => !isAlive(agent));
  await until("its guard to end", () => readStat(guard) === undefined);
  assert.match(
    await readFile(join(moved, "agent.log"), "utf8"),
    new RegExp(`another folder lies at ${directory}, .*process id ${other.about.pid} .*: this agent .* ends`),
  );
  assert.equal((await other.client.about()).pid, other.about.pid);

  const frontends = { http: { binds: [{ port: pool.edgePort }], defaultBackend: "web" } };
  await assert.rejects(
    change(other.client, "edge/web", [{ verb: "edge.set", edge: "web", spec: { frontends } }]),
    /HAProxy of another agent, whose state folder was moved or lost, runs with \S+\/edges\/web\/\S+ \(processes [\d, ]+\): put that folder back, or end it by kill -USR1/,
  );
  const { items } = await other.client.recovery({ force: false });
  assert.deepEqual(
    items.map(({ kind, id, ours }) => ({ kind, id, ours })).toSorted((a, b) => a.id.localeCompare(b.id)),
    ["edge.web", "web.1.web.0"].map((id) => ({ kind: "former-agent", id, ours: false })),
  );
  const { checks } = await other.client.doctor();
  const orphans = checks.filter(({ name, verdict }) => name === "orphans" && verdict === "problem");
  assert.deepEqual(orphans.map(({ message }) => /end it by (kill.*?) \d+; see/.exec(message)?.[1]).toSorted(), [
    "kill",
    "kill -USR1",
  ]);
  const { requests, failures } = await stop();
  assert.deepEqual(failures, []);
  assert.ok(requests > 0);
  for (const { pid, id } of before) assert.notEqual(readStat(pid), undefined, `process ${pid} of ${id} runs on`);
});
