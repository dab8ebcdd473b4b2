import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { send } from "../../../src/agent/processes/identity";
import { diskProblem, fillDisk, mountDisk, unmountDisk } from "../../faults/support/disk";
import { agentPid, endEverything } from "../../support/agent";
import { setRoute } from "../../support/harness";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { complete, DEADLINE, ended, startWithRoute } from "./support";

const skip = diskProblem() ?? false;

test("on a full disk a change goes on without its evidence, says so once, and what is known is written when there is room", {
  skip,
}, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "sl-e-"));
  mountDisk(directory);
  t.after(async () => {
    await endEverything(directory);
    unmountDisk(directory);
    await rm(directory, { recursive: true, force: true });
  });
  const agent = await startWithRoute(t, { directory });
  const { client } = agent;
  const begin = () => client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  const first = await begin();
  await client.step(first.id, setRoute(0), () => undefined);
  await client.commit(first.id);
  await complete((await ended(agent, first.id)).folder ?? "");

  const full = await begin();
  fillDisk(join(directory, "filler"));
  await client.notes(full.id, [{ kind: "remark", at: Date.now(), text: "the disk is full" }]);
  await client.abort(full.id, "no room");
  const known = await ended(agent, full.id);
  assert.deepEqual([known.verdict, known.reason], ["undone", "no room"]);
  const messages: string[] = [];
  const stop = new AbortController();
  for await (const { message } of client.events(stop.signal, { follow: "false", last: 200 }))
    if (message.includes("evidence")) messages.push(message);
  stop.abort();
  assert.equal(messages.length, 1, messages.join("\n"));
  assert.match(
    messages[0] ?? "",
    /^the evidence of route\/api is not complete: its disk has \d+ KiB left: free at least 8 MiB$/,
  );
  await until(
    "the gap to be known from memory alone",
    async () => {
      const record = (await client.evidenceOf(full.id))?.record;
      return record?.after !== undefined && record.marks.some(({ text }) => text === "the disk is full");
    },
    DEADLINE,
  );

  await rm(join(directory, "filler"));
  const later = await begin();
  await client.abort(later.id, "test");
  const folder = await until(
    "it to be written",
    async () => (await client.evidence(100)).find(({ id }) => id === full.id)?.folder,
    DEADLINE,
  );
  assert.match((await complete(folder))["index.html"] ?? "", /the disk is full/);
});

test("where no evidence can be written at all, changes are committed nevertheless, and it is said that it is in memory only", {
  skip,
}, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "sl-e-"));
  const folder = join(directory, "evidence");
  await mkdir(folder, { mode: 0o700 });
  mountDisk(folder, { mib: 1 });
  t.after(async () => {
    await endEverything(directory);
    unmountDisk(folder);
    await rm(directory, { recursive: true, force: true });
  });
  const agent = await startWithRoute(t, { directory });
  const { client } = agent;
  const { id } = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, setRoute(0), () => undefined);
  await client.notes(id, [{ kind: "stage", at: Date.now(), stage: "1%", split: 100 }]);
  await client.step(id, setRoute(100), () => undefined);
  await client.commit(id);
  const known = await ended(agent, id);
  assert.deepEqual([known.verdict, known.summary, known.folder], ["committed", { from: null, to: "1%" }, undefined]);
  assert.equal((await client.route("api"))?.committed, 100);
  assert.equal((await client.evidenceOf(id))?.folder, undefined);
  const messages: string[] = [];
  const stop = new AbortController();
  for await (const { message } of client.events(stop.signal, { follow: "false", last: 500 })) messages.push(message);
  assert.ok(
    messages.some((message) => /^the evidence of route\/api is not complete: its disk has \d+ KiB left/.test(message)),
    messages.join("\n"),
  );
  assert.deepEqual(await readdir(folder), []);
});

test("old evidence goes at the agent's start, and a log that can't be read is no reason to stay down", async (t) => {
  const agent = await startWithRoute(t);
  const { client, directory } = agent;
  const { id } = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await client.abort(id, "test");
  await complete((await ended(agent, id)).folder ?? "");
  const folder = join(directory, "evidence");
  // The last one is of an agent that died between the folder and the log.
  const names = [
    "20240101T000000.000Z-00000000-0000-4000-8000-000000000001",
    "20261101T000000.000Z-00000000-0000-4000-8000-000000000002",
    "20261101T000000.000Z-00000000-0000-4000-8000-000000000003",
  ];
  for (const name of names) {
    await mkdir(join(folder, name));
    if (name !== names[2]) await writeFile(join(folder, name, "evidence.json"), "{}");
  }
  await writeFile(join(folder, names[1] ?? "", "log.ndjson"), "not a log\n");
  const open = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  send((await agentPid(directory)) ?? 0, "SIGKILL");
  assert.deepEqual([(await ended(agent, open.id)).ending, (await ended(agent, id)).ending], ["crash", "abort"]);
  await until(
    "what is none to be gone",
    async () => (await readdir(folder)).every((name) => !names.includes(name)),
    DEADLINE,
  );
  const listed = (await client.evidence(500)).map((each) => each.id);
  assert.deepEqual(listed.slice(0, 2), [open.id, id]);
});
