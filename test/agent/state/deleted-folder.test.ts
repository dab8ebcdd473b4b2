import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { copyFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { isAlive, readStat, send } from "../../../src/agent/processes/identity";
import { sluice } from "../../cli/support/sluice";
import { temporaryFolder } from "../../support/agent";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { app, startPoolAgent, web } from "../pools/support/agent";
import { load } from "../pools/support/load";

const APP = join(__dirname, "../../fixtures/pools/app.cjs");

test("a state folder that is gone is not made anew by halves when an app dies, and nothing can be changed until it is back", async (t) => {
  const outside = await temporaryFolder(t);
  await copyFile(APP, join(outside, "app.cjs"));
  const agent = await startPoolAgent(t, { agent: { socket: join(outside, "a.sock") } });
  const pool = await agent.pool("web");
  await pool.promote("v1", { web: web({}, { replicas: 2 }), job: app() }, { release: { id: "v1", path: outside } });
  const before = await pool.processes();
  const requests = load(pool.url);
  t.after(requests);
  const { directory, events } = agent;
  const away = `${directory}.away`;
  await rename(directory, away);
  t.after(async () => {
    if (existsSync(away)) await rename(away, directory);
  });
  const has = (message: RegExp) => () => events.some((event) => message.test(event.message));

  const { pid = assert.fail() } = before.get("job#0@v1") ?? {};
  const job = readStat(pid) ?? assert.fail();
  send(pid, "SIGKILL");
  await until("the job to end", () => !isAlive(job));
  await until(
    "the job's start to be refused",
    has(new RegExp(`job#0 .* did not start: .*: the folder ${directory} is gone: put it back: starts again in `)),
  );
  await until(
    "that to be said",
    has(new RegExp(`agent: its state folder ${directory} is gone: .*: put the folder back`)),
  );
  // It is written some seconds after the transactions that it is about.
  await until(
    "the evidence to be refused",
    has(new RegExp(`the evidence of pool/web is not complete: .*${directory} is gone`)),
  );
  assert.equal(existsSync(directory), false);
  await assert.rejects(
    agent.client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 }),
    /agent\.pid is not this agent's any more: put its own state folder back/,
  );
  const status = await sluice(["status", "--socket", agent.socket]);
  assert.match(status.stdout, new RegExp(`agent: its state folder ${directory} is gone: .*: put the folder back`));
  assert.notEqual(status.code, 0);

  await rename(away, directory);
  await until("the job to run again", async () => (await pool.processes()).get("job#0@v1")?.state === "running");
  assert.deepEqual((await requests()).failures, []);
});

test("the command line tells an agent whose socket was deleted from one that does not run", async (t) => {
  const agent = await startPoolAgent(t);
  await rm(agent.socket);
  const { code, stderr } = await sluice(["status", "--socket", agent.socket]);
  assert.equal(code, 3);
  assert.match(stderr, /the agent that listens on \S+ runs, but that socket was deleted, .*: put the folder back/);
});
