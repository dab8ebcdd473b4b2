import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { allStats, commandOf, isDead, readStat } from "../../../src/agent/processes/identity";
import { startPostgres } from "../../support/postgres";
import { until } from "../../support/until";
import { type Outcome, REPOSITORY, violationsOf } from "../support/engine";
import { HostedStack } from "../support/hosted";

const RUNNER = path.join(REPOSITORY, "test", "fixtures", "migrations", "runner.mjs");
const PACK = ["--policy-pack", path.join(REPOSITORY, "policies")];

/** Messages of policies about migrations. */
function shown(outcome: Outcome, level: "mandatory" | "advisory"): string {
  const found = violationsOf(outcome).filter(({ title }) => title.startsWith(`${level} migrations `));
  return found.map(({ message }) => message).join("\n");
}

test("migrations that operators let pass, and one whose provider is killed", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const hosted = await HostedStack.create(t);
  const { stack } = hosted;
  const folder = path.join(stack.folder, "sql");
  mkdirSync(folder);
  const file = (name: string, sql: string) => writeFileSync(path.join(folder, name), sql);
  const tables = async () =>
    (await postgres.query("select name from schema_migrations order by name")).map(({ name }) => name);
  const command = (verb: string) => ({ command: ["node", RUNNER, verb, folder] });
  const db = { folder, pools: [], env: postgres.env, status: command("status"), apply: command("up") };
  await hosted.declare({ migrations: { db } });
  const up = async (...args: string[]) => {
    const outcome = await stack.up(...args);
    assert.equal(outcome.exit, 0, outcome.stdout);
    return outcome;
  };
  file("0001_users.sql", "create table users (id int primary key);");
  await up(...PACK);

  await t.test("a bypass lets one finding in one file pass, and says who allowed it", async () => {
    const sql = "alter table users add column note text not null;";
    file("0002_note.sql", sql);
    const refused = async (reason: RegExp) => {
      const outcome = await stack.preview(...PACK);
      assert.notEqual(outcome.exit, 0, outcome.stdout);
      assert.match(shown(outcome, "mandatory"), reason);
    };
    const bypass = (of: string, until: string) => {
      const hash = createHash("sha256").update(of).digest("hex");
      const one = { file: hash, rule: "add-required-column", reason: "the table is empty", who: "ana", until };
      return stack.config("sluice:migrationBypasses", JSON.stringify([one]));
    };
    await refused(/^0002_note\.sql:1:\d+: add-required-column: /);
    await bypass(sql, "2020-01-01");
    await refused(/^0002_note\.sql:1:\d+: add-required-column: [\s\S]*sluice:migrationBypasses: .*expired/);
    await bypass(`${sql} `, "2999-01-01");
    await refused(/sluice:migrationBypasses: no migration has the hash [0-9a-f]{12}: remove it/);
    await bypass(sql, "2999-01-01");
    for (const outcome of [await stack.preview(...PACK), await up(...PACK)]) {
      assert.equal(outcome.exit, 0, outcome.stdout);
      assert.equal(shown(outcome, "mandatory"), "");
      assert.match(shown(outcome, "advisory"), /: ana allowed it until 2999-01-01, since the table is empty/);
    }
    assert.deepEqual(await tables(), ["0001_users.sql", "0002_note.sql"]);
    assert.match(shown(await stack.preview(...PACK), "advisory"), /add-required-column in 0002_note\.sql is applied/);
  });

  await t.test(
    "a provider that is killed as it applies leaves nothing at work; the next update applies it once",
    async () => {
      file("0003_count.sql", "alter table users add column count int;");
      const holder = await postgres.client();
      await holder.query("begin; lock table users in access share mode");
      const started = stack.start("up");
      const waiting = () => postgres.query("select pid from pg_stat_activity where wait_event_type = 'Lock'");
      await until("the migration to wait for a lock", async () => (await waiting()).length > 0);
      const provider = await childOf(started.pid, "pulumi-resource-sluice", RUNNER);
      const runner = await childOf(provider, RUNNER);
      process.kill(provider, "SIGKILL");
      assert.notEqual((await started.finished).exit, 0);
      await until("its runner to be gone", () => isGone(runner));
      await holder.query("rollback");
      await holder.end();
      await until("the database to have given it up", async () => (await waiting()).length === 0);
      assert.deepEqual(await tables(), ["0001_users.sql", "0002_note.sql"]);
      await up();
      assert.deepEqual(await tables(), ["0001_users.sql", "0002_note.sql", "0003_count.sql"]);
      assert.match((await stack.preview()).stdout, /unchanged/);
    },
  );
});

/** The child of a process by what its command line holds, and by that of a child of its own. */
async function childOf(parent: number, text: string, grandchild?: string): Promise<number> {
  const all = (await allStats()).filter((stat) => !isDead(stat));
  const named = async (of: number, what: string) => {
    const children = all.filter((stat) => stat.parent === of).map(({ pid }) => pid);
    const commands = await Promise.all(children.map(commandOf));
    return children.filter((_, index) => commands[index]?.includes(what));
  };
  for (const pid of await named(parent, text))
    if (grandchild === undefined || (await named(pid, grandchild)).length > 0) return pid;
  throw new Error(`process ${parent} has no child with ${text}`);
}

function isGone(pid: number): boolean {
  const stat = readStat(pid);
  return stat === undefined || isDead(stat);
}
