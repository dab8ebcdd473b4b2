import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { startPostgres } from "../../support/postgres";
import { type Outcome, REPOSITORY, stepsOf, violationsOf } from "../support/engine";
import { HostedStack } from "../support/hosted";

const FIXTURES = path.join(REPOSITORY, "test", "fixtures", "migrations");
const PACK = ["--policy-pack", path.join(REPOSITORY, "policies")];
const DROP = "0002_drop_legacy.sql";

/** Refusals of an update, a line each. */
function refusals(outcome: Outcome): string[] {
  return violationsOf(outcome)
    .filter(({ title }) => title.startsWith("mandatory migrations "))
    .flatMap(({ message }) => message.split("\n"));
}

test("migrations come before the releases that need them, and never take away what one still needs", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const hosted = await HostedStack.create(t);
  const { stack } = hosted;
  const folder = path.join(stack.folder, "sql");
  mkdirSync(folder);
  const file = (name: string, sql: string) => writeFileSync(path.join(folder, name), sql);
  const tables = async () =>
    (await postgres.query("select name from schema_migrations order by name")).map(({ name }) => name);

  const needs: Record<string, object> = { v2: { requiresMigration: "0001", toleratesMigration: "0002" } };
  let changes: object = {};
  let retain = 1;
  const declare = (id: string) =>
    hosted.declare({
      edges: { main: hosted.edge() },
      migrations: {
        db: {
          folder,
          pools: ["web"],
          env: postgres.env,
          status: { command: ["node", path.join(FIXTURES, "runner.mjs"), "status", folder] },
          apply: { command: ["node", path.join(FIXTURES, "runner.mjs"), "up", folder] },
          ...changes,
        },
      },
      pools: {
        web: hosted.pool(
          id,
          { migrations: "db", retain: { count: retain }, release: { ...hosted.release(id), ...needs[id] } },
          { command: ["node", path.join(FIXTURES, "app.mjs"), "{{port}}", "{{release.id}}"], env: postgres.env },
        ),
      },
    });
  const refused = async (reason: RegExp) => {
    for (const outcome of [await stack.preview(...PACK), await stack.up(...PACK)]) {
      assert.notEqual(outcome.exit, 0, outcome.stdout);
      assert.match(refusals(outcome).join("\n"), reason, outcome.stdout);
    }
    assert.equal((await hosted.ask()).status, 200);
  };
  const up = async (...args: string[]) => {
    const outcome = await stack.up(...args);
    assert.equal(outcome.exit, 0, outcome.stdout);
    assert.equal((await hosted.ask()).status, 200);
    return outcome;
  };

  await t.test("a pending migration is applied before the release that needs it starts", async () => {
    file("0001_users.sql", "create table users (id int primary key, legacy text);");
    await declare("v1");
    await up(...PACK);
    assert.deepEqual(await tables(), ["0001_users.sql"]);
    assert.equal((await hosted.ask()).release, "v1");
  });

  await t.test("a contract migration is refused while a release that needs what it takes runs", async () => {
    file(DROP, "alter table users drop column legacy;");
    await declare("v1");
    const preview = await stack.preview(...PACK);
    assert.match(refusals(preview).join("\n"), /^0002_drop_legacy\.sql:1:\d+: drop-column: .*: list it under contract/);
    changes = { contract: [DROP] };
    await declare("v1");
    await refused(/^0002_drop_legacy\.sql:1:\d+: drop-column: release v1 runs on pool web and may still need it/);
    assert.deepEqual(await tables(), ["0001_users.sql"]);
  });

  await t.test("nor while it is kept for a rollback", async () => {
    changes = {};
    // Not there yet for those who promote v2.
    rmSync(path.join(folder, DROP));
    await declare("v2");
    await up(...PACK);
    file(DROP, "alter table users drop column legacy;");
    changes = { contract: [DROP] };
    await declare("v2");
    const preview = await stack.preview(...PACK);
    assert.match(refusals(preview).join("\n"), /: drop-column: release v1 is kept on pool web for a rollback/);
  });

  await t.test("it is applied once nothing needs what it takes", async () => {
    retain = 0;
    await stack.write("pack.json", JSON.stringify({ "rollback-target": "disabled" }));
    const pack = [...PACK, "--policy-pack-config", path.join(stack.folder, "pack.json")];
    rmSync(path.join(folder, DROP));
    changes = {};
    await declare("v2");
    await up(...pack);
    file(DROP, "alter table users drop column legacy;");
    changes = { contract: [DROP] };
    await declare("v2");
    const outcome = await up(...pack);
    assert.deepEqual(
      stepsOf(outcome, "sluice:index:Pool")
        .map(({ op }) => op)
        .filter((op) => op !== "refresh"),
      ["same"],
    );
    assert.deepEqual(await tables(), ["0001_users.sql", DROP]);
    retain = 1;
  });

  await t.test(
    "a rollback to a release that needs what is gone is refused, although nothing else may refuse one",
    async () => {
      await declare("v1");
      await refused(
        /^release\.id: v1 may still need what 0002_drop_legacy\.sql took away from database db: going back/,
      );
      assert.equal((await hosted.ask()).release, "v2");
    },
  );

  await t.test("a changed file, and one that fails, stop what depends on them", async () => {
    await declare("v2");
    file("0001_users.sql", "create table users (id bigint primary key, legacy text);");
    const changed = await stack.preview();
    assert.notEqual(changed.exit, 0);
    assert.match(changed.stdout, /0001_users\.sql was changed after it was applied: put it back as it was/);
    file("0001_users.sql", "create table users (id int primary key, legacy text);");
    file("0003_bad.sql", "alter table nowhere add column x int;");
    await declare("v3");
    const failed = await stack.up();
    assert.notEqual(failed.exit, 0);
    assert.match(failed.stdout, /node exited with 1: 42P01: relation "nowhere" does not exist/);
    assert.equal((await hosted.ask()).release, "v2");
    assert.deepEqual(await tables(), ["0001_users.sql", DROP]);
  });
});
