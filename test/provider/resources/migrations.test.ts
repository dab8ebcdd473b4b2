import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { type MigrationsInput, migrationsSpec } from "../../../src/model/policy/migration-set";
import { applyPending, askApplied } from "../../../src/provider/resources/migration-apply";
import { readMigrationFolder } from "../../../src/provider/resources/migration-folder";
import { migrationsResource } from "../../../src/provider/resources/migrations";
import type { Context } from "../../../src/provider/server";
import { startPostgres } from "../../support/postgres";
import { until } from "../../support/until";

const RUNNER = path.resolve(__dirname, "../../fixtures/migrations/runner.mjs");

function folderOf(t: TestContext, files: Record<string, string>): string {
  const folder = mkdtempSync(path.join(tmpdir(), "sl-mig-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, sql] of Object.entries(files)) writeFileSync(path.join(folder, name), sql);
  return folder;
}

function specOf(folder: string, changes: Partial<MigrationsInput> = {}) {
  return migrationsSpec.parse({ folder, applied: [], apply: { command: ["true"] }, ...changes });
}

function context(signal = new AbortController().signal) {
  const messages: string[] = [];
  const say = (message: string) => messages.push(message);
  return { messages, signal, log: { debug: say, info: say, warn: say, error: say, progress: say } };
}

const runner = (verb: string, folder: string) => ["node", RUNNER, verb, folder];

test("a folder's files are read in the order of their versions, without those that undo", async (t) => {
  const folder = folderOf(t, {
    "V10__b.sql": "b",
    "V9__a.sql": "a",
    "1_x.down.sql": "x",
    "note.txt": "n",
    "U9__a.sql": "u",
  });
  const found = await readMigrationFolder(folder);
  assert.deepEqual(
    found.map(({ id, sql }) => [id, sql]),
    [
      ["V9__a.sql", "a"],
      ["V10__b.sql", "b"],
    ],
  );
  assert.equal(found[0]?.hash, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
  mkdirSync(path.join(folder, "more"));
  writeFileSync(path.join(folder, "more", "V11__c.sql"), "c");
  await assert.rejects(
    readMigrationFolder(folder),
    /V11__c\.sql is in a folder of its own: put all migrations beside each other/,
  );
});

test("what is applied is what is given and recorded, or what a command prints", async () => {
  const ids = ["0001_a.sql", "0002_b.sql", "0003_c.sql"];
  const ask = (changes: Partial<MigrationsInput>, recorded: string[] = []) =>
    askApplied(specOf(tmpdir(), changes), ids, recorded, context());
  assert.deepEqual(await ask({}), []);
  assert.deepEqual(await ask({ applied: ["0002"] }, ["0001_a.sql"]), ["0001_a.sql", "0002_b.sql"]);
  const prints = (text: string, more = {}) => ask({ status: { command: ["printf", "%s", text], ...more } }, ids);
  assert.deepEqual(await prints("Version | Name\n1 | a\n0003_c.sql\n9999\n"), ["0001_a.sql", "0003_c.sql"]);
  assert.deepEqual(await prints("2", { prints: "newest" }), ["0001_a.sql", "0002_b.sql"]);
  await assert.rejects(ask({ status: { command: ["false"] } }), /^CommandError: false exited with 1$/);
  await assert.rejects(
    ask({ status: { command: ["sleep", "60"], timeout: "200 milliseconds" } }),
    /sleep did not end within 0\.2 s/,
  );
});

test("a file that the last update applied may not change, whatever the database says of others", async (t) => {
  const folder = folderOf(t, { "0001_a.sql": "create table a (id int primary key);" });
  const news = { name: "db", folder, applied: [], apply: { command: ["true"] } };
  const check = async (olds?: object) =>
    migrationsResource.check(context() as unknown as Context, { olds, news } as never);
  const first = await check();
  assert.deepEqual(first.failures, []);
  assert.deepEqual((first.inputs as { pending: string[] }).pending, ["0001_a.sql"]);
  assert.deepEqual(((await check(first.inputs)).inputs as { pending: string[] }).pending, []);
  writeFileSync(path.join(folder, "0001_a.sql"), "create table a (id bigint primary key);");
  assert.deepEqual((await check(first.inputs)).failures, [
    {
      property: "folder",
      reason: "0001_a.sql was changed after it was applied: put it back as it was, and write a new migration",
    },
  ]);
});

test("migrations run once on a real PostgreSQL, again where a lock could not be had, and not where they fail", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const files = { "0001_users.sql": "create table users (id int primary key);" };
  const folder = folderOf(t, files);
  const spec = specOf(folder, {
    applied: undefined,
    env: postgres.env,
    status: { command: runner("status", folder) },
    apply: { command: runner("up", folder), lockTimeout: "200 milliseconds", attempts: 10 },
  });
  const ids = async () => (await readMigrationFolder(folder)).map(({ id }) => id);
  const applied = async () => askApplied(spec, await ids(), [], context());
  assert.deepEqual(await applied(), []);
  assert.equal(await applyPending(spec, ["0001_users.sql"], context()), 1);
  assert.deepEqual(await applied(), ["0001_users.sql"]);

  await t.test("a lock that is held for a while", async () => {
    writeFileSync(path.join(folder, "0002_email.sql"), "alter table users add column email text;");
    const holder = await postgres.client();
    await holder.query("begin; lock table users in access share mode");
    const watched = context();
    const apply = applyPending(spec, ["0002_email.sql"], watched);
    await until(
      "it has tried",
      () => watched.messages.some((line) => line.startsWith("no lock within 200 milliseconds")),
      {
        deadlineMs: 60_000,
      },
    );
    await holder.end();
    assert.ok((await apply) > 1);
    assert.deepEqual(await applied(), ["0001_users.sql", "0002_email.sql"]);
  });

  await t.test("one that fails is tried once, and an update that is cancelled leaves no runner behind", async () => {
    writeFileSync(path.join(folder, "0003_bad.sql"), "alter table nowhere add column x int;");
    await assert.rejects(
      applyPending(spec, ["0003_bad.sql"], context()),
      /node exited with 1: 42P01: relation "nowhere" does not exist/,
    );
    writeFileSync(path.join(folder, "0003_bad.sql"), "select pg_sleep(600);");
    const stop = new AbortController();
    const apply = applyPending(spec, ["0003_bad.sql"], context(stop.signal));
    const sleeping = async () =>
      (await postgres.query("select 1 from pg_stat_activity where query like 'select pg_sleep(600)%'")).length;
    await until("it runs", async () => (await sleeping()) === 1, { deadlineMs: 60_000 });
    stop.abort(new Error("cancelled"));
    await assert.rejects(apply, /cancelled/);
    assert.deepEqual(await applied(), ["0001_users.sql", "0002_email.sql"]);
  });
});
