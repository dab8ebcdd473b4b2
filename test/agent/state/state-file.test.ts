import assert from "node:assert/strict";
import { appendFile, copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { AgentError } from "../../../src/agent/client/connection";
import { isDead, readStat, send } from "../../../src/agent/processes/identity";
import { Secrets } from "../../../src/agent/state/secrets";
import { StateFile } from "../../../src/agent/state/state";
import { agentPid, temporaryFolder } from "../../support/agent";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { app, type PoolAgent, startPoolAgent, web } from "../pools/support/agent";

/** Kills the agent, changes files meanwhile, and lets its guard start it again. */
async function whileDown({ directory, guard, client }: PoolAgent, change: () => Promise<void>): Promise<void> {
  const pid = await agentPid(directory);
  assert.ok(pid !== undefined, "an agent runs");
  send(guard, "SIGSTOP");
  try {
    send(pid, "SIGKILL");
    // Its guard, which is stopped, does not take note of it yet.
    await until("the agent to be dead", () => {
      const stat = readStat(pid);
      return stat === undefined || isDead(stat);
    });
    await change();
  } finally {
    send(guard, "SIGCONT");
  }
  await untilNext(client, directory, pid);
}

/** Lets the guard start the agent again at once, after a change of files. */
async function restarted({ client, directory }: PoolAgent, change: () => Promise<void> = async () => undefined) {
  const pid = await agentPid(directory);
  await change();
  await client.shutdown({ restart: true });
  await untilNext(client, directory, pid);
}

async function untilNext(client: PoolAgent["client"], directory: string, before: number | undefined): Promise<void> {
  await until("the next agent", async () => ![undefined, before].includes(await agentPid(directory)));
  await until("it to answer", () =>
    client.about().then(
      () => true,
      (error: unknown) => error instanceof AgentError && error.code === "no-state",
    ),
  );
}

type Bad = [name: string, why: RegExp, spoil: (text: string) => string];
const EDITED: Bad = [
  "edited by hand",
  /was edited by hand \(its checksum differs\)/,
  (text) => text.replace('"agent": "', '"agent": "x'),
];
const BAD: Bad[] = [
  EDITED,
  ["truncated", /is truncated or not JSON/, (text) => text.slice(0, text.length / 2)],
  ["empty", /is truncated or not JSON/, () => ""],
  [
    "of a newer agent",
    /has version 3, which a newer agent wrote \(this one knows 2\)/,
    (text) => text.replace('"version": 2', '"version": 3'),
  ],
  ["something else", /is not a state file of this version/, () => "[]"],
];

test("bad copies of the state are told from good ones", async (t) => {
  const folder = await temporaryFolder(t);
  const paths = [join(folder, "state.json"), join(folder, "state.copy.json")];
  const file = new StateFile(folder);
  const fresh = await file.load();
  assert.ok(fresh.kind === "new");
  await file.save(fresh.state);
  const good = await readFile(paths[0] ?? "", "utf8");
  for (const [name, why, spoil] of BAD) {
    for (const [index, path] of paths.entries()) {
      await writeFile(path, spoil(good));
      const one = await file.load();
      assert.ok(one.kind === "loaded" && !one.complete, `${name}, copy ${index}`);
      assert.deepEqual({ ...one.state, sequence: 0 }, fresh.state);
      assert.match(one.notes.join(), why);
      await file.save(one.state);
    }
    for (const path of paths) await writeFile(path, spoil(good));
    const both = await file.load();
    assert.equal(both.kind, "unreadable", name);
    assert.equal(both.notes.length, 2);
    assert.equal((await file.load()).kind, "unreadable", `${name}, a second time`);
    await file.save(fresh.state);
  }
});

test("of two good copies of the state the newer one is taken, which is said where a crash can't have left them so", async (t) => {
  const folder = await temporaryFolder(t);
  const [first, second] = [join(folder, "state.json"), join(folder, "state.copy.json")];
  const file = new StateFile(folder);
  const fresh = await file.load();
  assert.ok(fresh.kind === "new");
  await file.save({ ...fresh.state, owners: { "pool/old": { urn: "urn:old" } } });
  const old = await readFile(first, "utf8");
  await file.save({ ...fresh.state, owners: { "pool/new": { urn: "urn:new" } } });
  for (const [path, notes] of [
    [
      first,
      [/state\.json holds an older state \(save 1\) than \S+state\.copy\.json \(save 2\): the newer one is taken/],
    ],
    [second, []],
  ] as const) {
    await writeFile(path, old);
    const loaded = await new StateFile(folder).load();
    assert.ok(loaded.kind === "loaded" && !loaded.complete);
    assert.deepEqual(Object.keys(loaded.state.owners), ["pool/new"]);
    assert.equal(loaded.notes.length, notes.length);
    for (const [index, note] of notes.entries()) assert.match(loaded.notes[index] ?? "", note);
    await copyFile(path === first ? second : first, path);
  }
});

test("secrets that are missing, unreadable or changed are never passed on", async (t) => {
  const folder = await temporaryFolder(t);
  const key = "k".repeat(32);
  const { secrets } = await Secrets.openIn(folder, key);
  const template = app({ TOKEN: "hunter2", PLAIN: "x" });
  const split = secrets.split({ processes: { web: template } } as never, { web: ["TOKEN"] });
  const digests = split.spec.processes.web?.secretEnv ?? {};
  await secrets.store("web", 1, split.values);
  assert.deepEqual(secrets.of("web", 1, "web", digests), { TOKEN: "hunter2" });
  assert.deepEqual(secrets.of("web", 2, "web", {}), {});
  const refused =
    /^the secret TOKEN of process web is not, or not as it was committed, in .*web\.\d\.json: put the file back/;
  assert.throws(() => secrets.of("web", 2, "web", digests), { message: refused });
  for (const [content, note] of [
    ['{"web":{"TOKEN":"hun', /web\.1\.json can't be read \(not the values of secrets\)$/],
    ['{"web":{"TOKEN":7}}', /web\.1\.json can't be read \(not the values of secrets\)$/],
    ['{"web":{"TOKEN":"other"}}', /^$/],
    ["{}", /^$/],
  ] as const) {
    await writeFile(join(folder, "secrets", "web.1.json"), content);
    const { secrets: again, notes } = await Secrets.openIn(folder, key);
    assert.match(notes.join(), note);
    assert.throws(() => again.of("web", 1, "web", digests), { message: refused });
  }
});

test("the agent's state on disk", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory } = poolAgent;
  const [first, second] = [join(directory, "state.json"), join(directory, "state.copy.json")];
  const pool = await poolAgent.pool("web");
  await pool.promote("v1", { web: web(), side: app() });
  const before = await pool.processes();
  const running = await poolAgent.settledPids();

  await t.test("is taken from its second copy where the first is bad, which is kept aside and told", async () => {
    const bad = (await readFile(first, "utf8")).slice(0, 1000);
    await restarted(poolAgent, () => writeFile(first, bad));
    const { notes } = await client.about();
    assert.equal(notes.length, 1);
    assert.match(notes[0] ?? "", /state\.json is truncated or not JSON: kept aside as /);
    const aside = /kept aside as (.*)$/.exec(notes[0] ?? "")?.[1] ?? "";
    assert.equal(await readFile(aside, "utf8"), bad);
    assert.ok((await readFile(join(directory, "events.ndjson"), "utf8")).includes(JSON.stringify(notes[0])));
    assert.deepEqual(await pool.processes(), before);
    assert.equal(await readFile(first, "utf8"), await readFile(second, "utf8"));
    await rm(aside);
  });

  await t.test("may lack its first copy", async () => {
    await restarted(poolAgent, () => rm(first));
    assert.deepEqual(await pool.processes(), before);
    assert.equal(await readFile(first, "utf8"), await readFile(second, "utf8"));
  });

  for (const [name, why, spoil] of [EDITED, ["gone", /are gone, although an agent has worked/, undefined] as const])
    await t.test(
      `is not replaced where both copies are ${name}: nothing changes until a good one is back`,
      async () => {
        const good = await readFile(first, "utf8");
        await whileDown(poolAgent, async () => {
          for (const path of [first, second]) {
            if (spoil === undefined) await rm(path);
            else await writeFile(path, spoil(good));
          }
        });
        const noState = (error: unknown) => {
          assert.ok(error instanceof AgentError && error.code === "no-state", String(error));
          assert.match(error.message, /^the agent's state could not be read, so it changes nothing: /);
          assert.match(error.message, why);
          assert.match(error.message, /put a good copy back as state\.json/);
          return true;
        };
        await assert.rejects(client.about(), noState);
        await assert.rejects(client.pool("web"), noState);
        await assert.rejects(client.begin({ target: "pool/web", owner: OWNER }), noState);
        // Also an agent that is started again in this state must not take itself for a new one.
        await whileDown(poolAgent, async () => undefined);
        await assert.rejects(client.about(), noState);
        assert.equal(await pool.get(), "web#0@v1");
        if (spoil !== undefined) assert.equal(await readFile(first, "utf8"), spoil(good));
        await writeFile(first, good);
        await rm(second, { force: true });
        await until("the agent to take it", () => client.about());
        assert.deepEqual(await pool.processes(), before);
        assert.deepEqual(await poolAgent.settledPids(), running);
      },
    );

  await t.test("is told of where its journal was cut short", async () => {
    await restarted(poolAgent, () => appendFile(join(directory, "journal.ndjson"), '{"kind":"opened","at":"2026'));
    const { notes } = await client.about();
    assert.match(notes.join(), /journal\.ndjson:\d+ is not a journal entry \(a write that was cut short\?\)/);
    await pool.promote("v1", { web: web(), side: app() });
    await restarted(poolAgent);
    assert.equal((await client.about()).notes.length, 1);
    assert.deepEqual(await pool.processes(), before);
  });

  await t.test("works on after all that", async () => {
    await pool.promote("v2", { web: web(), side: app() });
    assert.equal(await pool.get(), "web#0@v2");
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.includes("unreadable")),
      [],
    );
  });
});

test("secrets that are lost keep their process from starting, and nothing else", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory } = poolAgent;
  const pool = await poolAgent.pool("web");
  const spec = await pool.spec("v1", { web: web(), side: app({ TOKEN: "hunter2" }) });
  const id = (await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 })).id;
  const step = { verb: "pool.start" as const, pool: "web", spec, secrets: { side: ["TOKEN"] } };
  await client.step(id, step, () => undefined);
  await client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined);
  await client.step(id, { verb: "pool.follow", pool: "web" }, () => undefined);
  await client.commit(id);
  const file = join(directory, "secrets", "web.1.json");
  const good = join(directory, "secrets.good");
  await copyFile(file, good);
  const webPid = (await pool.processes()).get("web#0@v1")?.pid;
  await whileDown(poolAgent, async () => {
    await writeFile(file, '{"side":{"TOKEN":"hun');
    const side = (await poolAgent.processes()).filter(({ id }) => id === "web.1.side.0");
    for (const { pid } of side) send(pid, "SIGKILL");
  });
  const readEvents = () => readFile(join(directory, "events.ndjson"), "utf8");
  await until("the process to be tried", async () =>
    (await readEvents()).includes("side#0 of pool web (release v1) did not"),
  );
  assert.equal((await pool.processes()).get("side#0@v1")?.state, "backoff");
  assert.equal((await pool.processes()).get("web#0@v1")?.pid, webPid);
  assert.match((await client.about()).notes.join(), /web\.1\.json can't be read \(not the values of secrets\)/);
  const events = await readEvents();
  assert.match(
    events,
    /side#0 of pool web \(release v1\) did not start: the secret TOKEN of process side is not, or not/,
  );
  assert.doesNotMatch(events, /hunter2|"hun/);
  await restarted(poolAgent, () => copyFile(good, file));
  await until("it to run", async () => (await pool.processes()).get("side#0@v1")?.state === "running");
});
