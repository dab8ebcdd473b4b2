import assert from "node:assert/strict";
import { access, mkdir, readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { send } from "../../../src/agent/processes/identity";
import { deleteFolder } from "../../support/delete-folder";
import { namedServers, setRoute, startHarness } from "../../support/harness";
import { ask, sendRequests } from "../../support/requests";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { promote, startWithPool } from "../support/pool";

test("files of an edge that are deleted are written again, and its next agent changes nothing", async (t) => {
  const agent = await startHarness(t, { backends: await namedServers(t, "blue", "green") });
  await agent.change("route/api", setRoute(5000));
  const { master, worker } = (await agent.client.edge("main"))?.observed ?? assert.fail();
  const folder = join(agent.directory, "edges", "main");
  const files = ["edge.json", "haproxy.cfg", "splits.map"];
  const contents = () => Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  const before = await contents();
  for (const file of files) await rm(join(folder, file));
  await agent.client.status();
  assert.deepEqual(await contents(), before);
  const events = await eventsOf(agent.directory);
  for (const file of files) assert.match(events, new RegExp(`"\\S+/${file} was deleted, and is written again"`));
  send(agent.about.pid, "SIGKILL");
  await until("the next agent", async () => (await agent.client.about()).pid !== agent.about.pid);
  const after = (await agent.client.edge("main"))?.observed ?? assert.fail();
  assert.deepEqual([after.master, after.worker?.pid, after.workerRunsFile], [master, worker?.pid, true]);
});

test("a folder in the place of an edge's config is named with the remedy, and an undo goes on once it is gone", async (t) => {
  const agent = await startHarness(t, { backends: await namedServers(t, "blue", "green") });
  const requests = sendRequests(t, [agent.port]);
  const config = join(agent.directory, "edges", "main", "haproxy.cfg");
  await rename(config, `${config}.away`);
  await mkdir(config);
  const { id } = await agent.client.begin({ target: "backend/main/new", owner: OWNER, leaseMs: 60_000 });
  const step = { verb: "backend.set" as const, edge: "main", backend: "new", spec: { servers: {} } };
  await assert.rejects(
    agent.client.step(id, step, () => undefined),
    /\/edges\/main\/haproxy\.cfg is a folder, and must be a file: remove it$/,
  );
  assert.equal((await agent.client.abort(id, "it failed", 0)).state, "undoing");
  await rmdir(config);
  await until("the undo", async () => (await agent.client.transaction(id)).state === "undone");
  await access(config);
  assert.deepEqual(
    (await requests.stop()).failures.filter((failure) => !failure.startsWith("200 ")),
    [],
  );
});

test("an agent adopts processes whose folders were deleted, and starts none of them twice", async (t) => {
  const agent = await startWithPool(t, { replicas: 2 });
  const load = sendRequests(t, [agent.port]);
  t.after(() => load.stop());
  const before = await agent.settledPids();
  const directory = join(agent.directory, "processes");
  for (const folder of [...(await readdir(directory)).filter((name) => name.startsWith("web.")), ".status"])
    await deleteFolder(join(directory, folder));
  const { pools } = await agent.client.status();
  assert.equal("error" in (pools.web ?? assert.fail()), false);
  const events = await eventsOf(agent.directory);
  assert.match(events, /"the record of process web\.\S+ was deleted, and is written again"/);
  assert.match(
    events,
    /"the status of process edge\.main was deleted, and is written again: its exit code will be unknown"/,
  );
  assert.match(events, /"the output of process web\.\S+ was deleted: what it writes is lost"/);
  send(agent.about.pid, "SIGKILL");
  await until("the next agent", async () => (await agent.client.about()).pid !== agent.about.pid);
  await agent.client.settle("web");
  assert.deepEqual(await agent.settledPids(), before);
  await promote(agent.client, { ...agent.app, replicas: 2, release: "v2" });
  assert.equal((await ask(agent.port)).release, "v2");
  assert.deepEqual((await load.stop()).failures, []);
});

test("a journal that was deleted begins again, and tells the next agent of the transaction that is open", async (t) => {
  const agent = await startWithPool(t);
  const { id } = await agent.client.begin({ target: "pool/web", owner: OWNER, leaseMs: 600_000 });
  await rm(join(agent.directory, "journal.ndjson"));
  await rename(join(agent.directory, "meter"), join(agent.directory, "away"));
  await agent.client.status();
  await access(join(agent.directory, "meter"));
  const journal = await readFile(join(agent.directory, "journal.ndjson"), "utf8");
  assert.deepEqual(
    journal.split("\n").flatMap((line) => (line === "" ? [] : [(JSON.parse(line) as { id: string }).id])),
    [id],
  );
  assert.match(await eventsOf(agent.directory), /\/meter was deleted or moved, and is there again/);
  send(agent.about.pid, "SIGKILL");
  await until("the next agent", async () => (await agent.client.about()).pid !== agent.about.pid);
  await until("the undo of it", async () =>
    (await readFile(join(agent.directory, "journal.ndjson"), "utf8")).includes(`"kind":"undone","id":"${id}"`),
  );
});

function eventsOf(directory: string): Promise<string> {
  return readFile(join(directory, "events.ndjson"), "utf8");
}
