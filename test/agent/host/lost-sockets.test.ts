import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { send } from "../../../src/agent/processes/identity";
import type { TestAgent } from "../../support/agent";
import { ask, sendRequests } from "../../support/requests";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { promote, startStep, startWithPool } from "../support/pool";

test("an agent whose HAProxy lost its sockets has it bind them again, and can promote", async (t) => {
  const agent = await startWithPool(t);
  const load = sendRequests(t, [agent.port]);
  t.after(() => load.stop());
  const { master } = (await agent.client.edge("main"))?.observed ?? assert.fail();
  await deleteSockets(agent);
  await until("the edge to be reached again", () => reached(agent));
  const events = () => readFile(join(agent.directory, "events.ndjson"), "utf8");
  await until("the agent to tell", async () =>
    (await events()).includes('"edge main: HAProxy has bound its sockets again, by a reload"'),
  );
  assert.match(
    await events(),
    /"HAProxy of edge main \(process \d+\) serves requests but can't be reached, since \S+ is gone/,
  );
  await promote(agent.client, { ...agent.app, release: "v2" });
  assert.equal((await ask(agent.port)).release, "v2");
  assert.deepEqual((await load.stop()).failures, []);
  await assertOneHaproxy(agent, master);
});

test("a transaction whose HAProxy loses its sockets is committed", async (t) => {
  const agent = await startWithPool(t);
  const { client } = agent;
  const load = sendRequests(t, [agent.port]);
  t.after(() => load.stop());
  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, startStep({ ...agent.app, release: "v2" }), () => undefined);
  await deleteSockets(agent);
  await client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined);
  await client.step(id, { verb: "pool.follow", pool: "web" }, () => undefined);
  await client.commit(id);
  assert.equal((await ask(agent.port)).release, "v2");
  assert.deepEqual((await load.stop()).failures, []);
});

test("a transaction whose HAProxy loses its sockets is undone", async (t) => {
  const agent = await startWithPool(t);
  const { client } = agent;
  const load = sendRequests(t, [agent.port]);
  t.after(() => load.stop());
  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, startStep({ ...agent.app, release: "v2" }), () => undefined);
  await client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined);
  await deleteSockets(agent);
  assert.equal((await client.abort(id, "test")).state, "undone");
  assert.equal((await ask(agent.port)).release, "v1");
  assert.deepEqual((await load.stop()).failures, []);
});

test("an agent that is killed while HAProxy binds its sockets again is followed by one that ends in the same place", async (t) => {
  const agent = await startWithPool(t);
  const load = sendRequests(t, [agent.port]);
  t.after(() => load.stop());
  const { master } = (await agent.client.edge("main"))?.observed ?? assert.fail();
  await deleteSockets(agent);
  const config = join(agent.directory, "edges", "main", "haproxy.cfg");
  await until("the config for it", async () => (await readFile(config, "utf8")).includes("//worker.sock"), {
    intervalMs: 1,
  });
  send(agent.about.pid, "SIGKILL");
  await until("the next agent", async () => (await agent.client.about()).pid !== agent.about.pid);
  await until("the edge to be reached again", () => reached(agent));
  await promote(agent.client, { ...agent.app, release: "v2" });
  assert.equal((await ask(agent.port)).release, "v2");
  assert.deepEqual((await load.stop()).failures, []);
  await assertOneHaproxy(agent, master);
});

async function deleteSockets({ directory }: TestAgent): Promise<void> {
  for (const socket of ["master.sock", "worker.sock"]) await rm(join(directory, "edges", "main", socket));
}

async function reached({ client }: TestAgent): Promise<boolean> {
  const answer = await client.edge("main").catch(() => undefined);
  return answer?.live.config === "as declared";
}

async function assertOneHaproxy({ client, processes }: TestAgent, master: number | undefined): Promise<void> {
  const { observed } = await until("one worker", async () => {
    const answer = await client.edge("main");
    return answer?.observed.oldWorkers.length === 0 ? answer : undefined;
  });
  assert.equal(observed.master, master);
  const running = (await processes()).filter(({ id }) => id === "edge.main").map(({ pid }) => pid);
  assert.ok(running.includes(observed.master ?? 0) && running.includes(observed.worker?.pid ?? 0));
  // The third one is the shim.
  assert.equal(running.length, 3);
}
