import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { RULES } from "../../../src/migrations/rules";
import { sluice } from "../support/sluice";

async function folder(t: TestContext, files: Record<string, string | Buffer>): Promise<string> {
  const made = await mkdtemp(path.join(tmpdir(), "sl-"));
  t.after(() => rm(made, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(made, name)), { recursive: true });
    await writeFile(path.join(made, name), content);
  }
  return made;
}

test("a folder is judged in the order of its versions, as JSON of the documented form", async (t) => {
  const at = await folder(t, {
    "2_email.up.sql": "ALTER TABLE users\n  ALTER COLUMN name TYPE text;",
    "2_email.down.sql": "DROP TABLE users;",
    "1_users.up.sql": "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(50));",
    "10_nick.up.sql": "SELECT 1;\n  ALTER TABLE users DROP COLUMN name;",
    "notes.txt": "DROP TABLE users;",
  });
  const { code, stdout } = await sluice(["migrations", "check", "--json", at]);
  assert.equal(code, 1);
  assert.deepEqual(JSON.parse(stdout), {
    files: [
      { path: path.join(at, "1_users.up.sql"), runner: "golang-migrate", verdict: "safe", findings: [] },
      { path: path.join(at, "2_email.up.sql"), runner: "golang-migrate", verdict: "safe", findings: [] },
      {
        path: path.join(at, "10_nick.up.sql"),
        runner: "golang-migrate",
        verdict: "unsafe",
        findings: [
          {
            rule: "drop-column",
            level: "error",
            question: "compatibility",
            line: 2,
            column: 3,
            statement: "ALTER TABLE users DROP COLUMN name",
            message: "Releases that still use users.name fail once it is gone.",
            locks: "ACCESS EXCLUSIVE on users: blocks reads and writes",
            fix: "Leave it out of this migration. Do it in a contract migration, when no release that uses it runs or is kept for a rollback.\nALTER TABLE users DROP COLUMN name;",
          },
        ],
      },
    ],
  });
});

test("files come in the order given, and options are the runner's", async (t) => {
  const at = await folder(t, {
    "a.sql": "CREATE INDEX CONCURRENTLY i ON users (name);",
    "schema.sql": "CREATE TABLE public.users (name varchar(5));",
    "b.sql": "ALTER TABLE users ALTER name TYPE text;",
  });
  const run = async (...args: string[]) => (await sluice(["migrations", "check", ...args])).code;
  assert.equal(await run(path.join(at, "a.sql")), 1);
  assert.equal(await run("--transaction", "none", path.join(at, "a.sql")), 0);
  assert.equal(await run(path.join(at, "b.sql")), 1);
  assert.equal(await run("--schema", path.join(at, "schema.sql"), path.join(at, "b.sql")), 0);
  assert.equal(await run(path.join(at, "schema.sql"), path.join(at, "b.sql")), 0);
  assert.equal(await run("--dialect", "sqlite", path.join(at, "b.sql")), 1);
});

test("the runner is told by the files and their settings, is said, and can be set", async (t) => {
  const concurrent = "CREATE INDEX CONCURRENTLY i ON users (name);";
  const at = await folder(t, {
    "2024-01-01-000000_x/up.sql": concurrent,
    "2024-01-01-000000_x/down.sql": "DROP INDEX i;",
    "2024-01-01-000000_x/metadata.toml": "run_in_transaction = false\n",
    "flyway/V1__x.sql": `SELECT 1; ${concurrent.replace("i ON", "j ON")}`,
    "flyway/V1__x.sql.conf": "executeInTransaction=false\n",
  });
  const said = async (...args: string[]) => {
    const { code, stdout } = await sluice(["migrations", "check", ...args]);
    return [code, /^read as files of .*$/m.exec(stdout)?.[0]];
  };
  const other = "--runner tells another one";
  assert.deepEqual(await said(at), [0, `read as files of diesel and flyway; ${other}`]);
  assert.deepEqual(await said("--runner", "sqlx", at), [1, `read as files of sqlx; ${other}`]);
  assert.deepEqual(await said("--transaction", "per-file", path.join(at, "flyway")), [
    0,
    `read as files of flyway; ${other}`,
  ]);
});

test("standard input is checked after the files before it", async (t) => {
  const at = await folder(t, { "1_users.sql": "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(9));" });
  const sql = "--\n-- Alter field name on user\n--\nALTER TABLE users ALTER COLUMN name TYPE text;\n";
  const check = (...paths: string[]) => sluice(["migrations", "check", "--json", ...paths], { stdin: sql });
  const { code, stdout } = await check(at, "-");
  assert.equal(code, 0, stdout);
  assert.equal(JSON.parse(stdout).files[1].runner, "django");
  assert.equal((await check("-")).code, 1);
});

test("people get the place, the reason and the rewrite; the same rewrite is not shown twice", async (t) => {
  const at = await folder(t, {
    "1.sql": "ALTER TABLE a ADD b int NOT NULL;\nCREATE INDEX i ON a (b);\nCREATE INDEX i ON a (b);",
  });
  const { stdout } = await sluice(["migrations", "check", at]);
  const file = path.join(at, "1.sql");
  assert.ok(stdout.startsWith("unsafe: 1 file, 4 errors, 1 warning\n"), stdout);
  assert.ok(stdout.includes(`\n\n${file}:1:1: error add-required-column (compatibility)\n  Inserts of`), stdout);
  assert.equal(stdout.split("CREATE INDEX CONCURRENTLY i ON a (b);").length, 2);
  assert.ok(stdout.includes("-- 3. Contract"), stdout);
});

test("what can't be used is said, all at once, with exit code 2", async (t) => {
  const at = await folder(t, { "empty/x.txt": "", "latin.sql": Buffer.from("-- \xe9", "latin1") });
  const { code, stderr, stdout } = await sluice([
    "migrations",
    "check",
    path.join(at, "none.sql"),
    path.join(at, "empty"),
    path.join(at, "latin.sql"),
  ]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.deepEqual(stderr.trim().split("\n"), [
    `sluice: ${path.join(at, "none.sql")}: there is no such file or folder`,
    `sluice: ${path.join(at, "empty")}: no migrations (*.sql) are in this folder`,
    `sluice: ${path.join(at, "latin.sql")}: it is not UTF-8; convert it first`,
  ]);
  assert.equal((await sluice(["migrations", "check"])).code, 2);
  assert.equal((await sluice(["migrations", "check", "--dialect", "oracle", at])).code, 2);
  assert.equal((await sluice(["migrations", "check", "--schema", path.join(at, "none.sql"), at])).code, 2);
  assert.equal((await sluice(["migrations", "explain", "none"])).code, 2);
});

test("every rule is listed and explained", async () => {
  const { stdout } = await sluice(["migrations", "explain"]);
  for (const { id, title } of RULES) assert.ok(stdout.includes(id) && stdout.includes(title), id);
  const drop = await sluice(["migrations", "explain", "drop-column"]);
  assert.equal(drop.code, 0);
  assert.ok(drop.stdout.startsWith("# drop-column: Dropping a column"), drop.stdout);
  assert.ok(drop.stdout.includes("ALTER TABLE users DROP COLUMN nick;"));
});
