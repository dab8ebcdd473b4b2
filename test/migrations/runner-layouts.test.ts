import assert from "node:assert/strict";
import test from "node:test";
import { checkMigrations } from "../../src/migrations/check";
import { orderMigrations, undoes } from "../../src/migrations/runners/names";
import { startPostgres } from "../support/postgres";
import { errorsOf, judge, table } from "./support";

const CONCURRENT = "CREATE INDEX CONCURRENTLY i ON users (a);";
const TWO = `${CONCURRENT} CREATE INDEX CONCURRENTLY j ON users (b);`;
const OWN = "BEGIN; ALTER TABLE users ADD COLUMN c int; COMMIT;";

for (const [runner, path] of [
  ["Prisma", "migrations/20240101120000_x/migration.sql"],
  ["golang-migrate", "migrations/0001_x.up.sql"],
] as const)
  table(`${runner} sends a file as one string, without a transaction of its own`, [
    [CONCURRENT, "", { path }],
    [TWO, "concurrently-in-transaction", { path }],
    [OWN, "", { path }],
    [`SELECT 1; ${OWN} SELECT 2;`, "", { path }],
    ["COMMIT;", "transaction-control", { path }],
    [
      "ALTER TABLE users ADD COLUMN c int; UPDATE users SET c = 1 WHERE id BETWEEN 1 AND 9;",
      "backfill-under-lock",
      { path },
    ],
    [CONCURRENT, "concurrently-in-transaction", { path, transaction: "per-file" }],
  ]);

table("Diesel, sqlx, pop, Flyway and postgres-migrations open a transaction around a file unless it says otherwise", [
  [CONCURRENT, "concurrently-in-transaction", { path: "2024-01-01-000000_x/up.sql" }],
  [CONCURRENT, "", { path: "2024-01-01-000000_x/up.sql", settings: "run_in_transaction = false\n" }],
  [TWO, "concurrently-in-transaction", { path: "2024-01-01-000000_x/up.sql", settings: "run_in_transaction = false" }],
  [CONCURRENT, "concurrently-in-transaction", { path: "x/up.sql", settings: "# run_in_transaction = false" }],
  [`-- no-transaction\n${CONCURRENT}`, "", { path: "20240101_x.sql" }],
  [`-- no-transaction\n${CONCURRENT}`, "", { path: "20240101_x.up.sql" }],
  [`-- no-transaction\n${TWO}`, "concurrently-in-transaction", { path: "20240101_x.sql" }],
  [`-- x\n-- no-transaction\n${CONCURRENT}`, "concurrently-in-transaction", { path: "20240101_x.sql" }],
  [CONCURRENT, "concurrently-in-transaction", { path: "20240101_x.up.sql", runner: "sqlx" }],
  [CONCURRENT, "concurrently-in-transaction", { path: "20240101_x.postgres.up.sql" }],
  [CONCURRENT, "", { path: "20240101_x.postgres.autocommit.up.sql" }],
  [CONCURRENT, "", { path: "20240101_x.autocommit.up.sql" }],
  [`-- postgres-migrations disable-transaction\n${CONCURRENT}`, "", { path: "2-x.sql" }],
  [CONCURRENT, "", { path: "V1__x.sql" }],
  [TWO, "", { path: "V1__x.sql" }],
  [`SET lock_timeout = '1s'; ${CONCURRENT}`, "concurrently-in-transaction", { path: "V1__x.sql" }],
  [`SET lock_timeout = '1s'; ${CONCURRENT}`, "", { path: "V1__x.sql", settings: "executeInTransaction=false" }],
  [
    `SET lock_timeout = '1s'; ${CONCURRENT}`,
    "concurrently-in-transaction",
    { path: "V1__x.sql", settings: "executeInTransaction=true" },
  ],
]);

table("a name that several runners give is judged by the strictest of them", [
  [CONCURRENT, "concurrently-in-transaction", { path: "20240101120000_x.up.sql" }],
  [OWN, "transaction-control", { path: "20240101120000_x.up.sql" }],
  [CONCURRENT, "", { path: "20240101120000_x.up.sql", runner: "golang-migrate" }],
  [`-- no-transaction\n${CONCURRENT}`, "", { path: "20240101120000_x.up.sql" }],
  [CONCURRENT, "", { path: "20240101120000_x.autocommit.up.sql" }],
  [CONCURRENT, "concurrently-in-transaction", { path: "users/migration.sql" }],
  [CONCURRENT, "", { path: "users/migration.sql", runner: "prisma" }],
  [CONCURRENT, "", { path: "0_init/migration.sql" }],
]);

const SQL_MIGRATE = "-- +migrate Up\n";
table("sql-migrate's sections", [
  [`${SQL_MIGRATE}SELECT 1;\n-- +migrate Down\nDROP TABLE users;`, ""],
  [`-- +migrate Down\nDROP TABLE users;\n${SQL_MIGRATE}SELECT 1;`, "drop-table"],
  [`${SQL_MIGRATE}DROP TABLE users;\n-- +migrate Down\nSELECT 1;`, "drop-table"],
  [`${SQL_MIGRATE}${CONCURRENT}\n-- +migrate Down\nDROP INDEX i;`, "concurrently-in-transaction"],
  [`-- +migrate Up notransaction\n${CONCURRENT}\nCREATE INDEX CONCURRENTLY j ON users (b);\n-- +migrate Down\n`, ""],
  [
    `-- +migrate Up notransaction\n-- +migrate StatementBegin\n${TWO}\n-- +migrate StatementEnd\n`,
    "concurrently-in-transaction",
  ],
  ["SELECT 1;\n-- +migrate Down\nDROP TABLE users;", "drop-table"],
  [`${SQL_MIGRATE}SELECT 1;\n-- +migrate Down\nDROP TABLE users;`, "drop-table", { runner: "plain" }],
]);

test("a template is one finding, whatever it is put into", async () => {
  const findings = async (sql: string, path: string) =>
    (await judge(sql, { path })).findings.map(({ rule, line, level }) => `${line} ${level} ${rule}`);
  const sql =
    'CREATE TABLE {{ index .Options "Schema" }}.a (id int);\nALTER TABLE {{ index .Options "Schema" }}.b ADD COLUMN c int;\nDROP TABLE d;';
  assert.deepEqual(await findings(sql, "20240101_x.up.sql"), ["1 error dynamic-sql", "3 error drop-table"]);
  assert.deepEqual(await findings("DO $$ BEGIN DROP TABLE {{ .Schema }}.a; END $$;", "1_x.up.sql"), [
    "1 error dynamic-sql",
  ]);
  assert.deepEqual(await findings("INSERT INTO t VALUES ('{{1,2},{3,4}}');", "0001_x.sql"), []);
  assert.deepEqual(await findings("INSERT INTO t VALUES ('{{ .Name }}');", "0001_x.postgres.up.sql"), [
    "1 error dynamic-sql",
  ]);
});

test("pop's files for other databases are left out, and so are general ones where there is one for this database", async () => {
  const files = ["1_a.up.sql", "1_a.postgres.up.sql", "1_a.mysql.up.sql", "2_b.up.sql", "2_b.sqlite3.up.sql"];
  const { files: results } = await checkMigrations(files.map((path) => ({ path, sql: "DROP TABLE x;" })));
  assert.deepEqual(
    results.map(({ path, skipped, verdict }) => [path, skipped, verdict]),
    [
      ["1_a.up.sql", "a file for postgres takes its place", "safe"],
      ["1_a.postgres.up.sql", undefined, "unsafe"],
      ["1_a.mysql.up.sql", "it is for another database", "safe"],
      ["2_b.up.sql", undefined, "unsafe"],
      ["2_b.sqlite3.up.sql", "it is for another database", "safe"],
    ],
  );
});

test("Prisma's folders come in the order of their letters", () => {
  const folders = ["20250625_b/migration.sql", "20250624120000_a/migration.sql", "20250625120000_x/migration.sql"];
  assert.deepEqual(orderMigrations(folders), [
    "20250624120000_a/migration.sql",
    "20250625120000_x/migration.sql",
    "20250625_b/migration.sql",
  ]);
});

test("Diesel's versions are numbers, with or without dashes", () => {
  const folders = [
    "2019-12-31-235959_b/up.sql",
    "20180101000000_a/up.sql",
    "00000000000000_first/up.sql",
    "20200101000000_c/up.sql",
  ];
  assert.deepEqual(orderMigrations(folders), [
    "00000000000000_first/up.sql",
    "20180101000000_a/up.sql",
    "2019-12-31-235959_b/up.sql",
    "20200101000000_c/up.sql",
  ]);
  assert.ok(undoes("2019-12-31-235959_b/down.sql"));
});

const DJANGO = `BEGIN;
--
-- Add field nick to user
--
ALTER TABLE "app_user" ADD COLUMN "nick" varchar(20) DEFAULT '' NOT NULL;
ALTER TABLE "app_user" ALTER COLUMN "nick" DROP DEFAULT;
COMMIT;
`;
const RAILS = `== 20240101 AddNick: migrating ====
-- add_column(:users, :nick, :string, {:null=>false})
D, [2024-01-01T00:00:00.1 #12] DEBUG -- :   \u001b[1m\u001b[36mTRANSACTION (0.2ms)\u001b[0m  \u001b[1m\u001b[35mBEGIN\u001b[0m
   (1.5ms)  ALTER TABLE "users"
      ADD "nick" character varying NOT NULL
  ↳ db/migrate/20240101_add_nick.rb:3:in 'change'
   -> 0.0021s
  ActiveRecord::SchemaMigration Create (0.4ms)  INSERT INTO "schema_migrations" ("version") VALUES ($1) RETURNING "version"  [["version", "20240101"]]
  User Update All (0.4ms)  UPDATE "users" SET "nick" = $1 WHERE "users"."id" = $2  [["nick", "x"], ["id", 1]]
  TRANSACTION (1.0ms)  COMMIT
   (9.1ms)  CREATE INDEX CONCURRENTLY "i" ON "users" ("nick")
`;

test("standard input is read as Django's sqlmigrate and Rails' log print it", async () => {
  const read = async (sql: string) => {
    const { runner, findings } = await judge(sql, { path: "-" });
    return [runner, ...findings.filter(({ level }) => level === "error").map(({ line, rule }) => `${line} ${rule}`)];
  };
  assert.deepEqual(await read(DJANGO), ["django", "6 drop-default"]);
  assert.deepEqual(await read(`--\n-- Concurrently create index i\n--\n${CONCURRENT}\n`), ["django"]);
  assert.deepEqual(await read(RAILS), ["rails", "4 add-required-column", "9 backfill-under-lock"]);
  assert.deepEqual(await read("DROP TABLE users;"), ["plain", "1 drop-table"]);
});

test("Rails' log loses no statement to a comment, an operator or a prefix", async () => {
  const read = async (sql: string, runner?: "rails") => {
    const result = await judge(sql, { path: "-", ...(runner && { runner }) });
    const errors = result.findings.filter(({ level }) => level === "error");
    return [result.runner, ...errors.map(({ line, rule }) => `${line} ${rule}`)];
  };
  const log = (...lines: string[]) => ["== 1 A: migrating ====", "-- execute(1)", ...lines, "   -> 0.1s"].join("\n");
  assert.deepEqual(await read(log("   (0.5ms)", "-- legacy", "DROP TABLE users")), ["rails", "5 drop-table"]);
  assert.deepEqual(await read(log("  (0.5ms)  SELECT 1;", "-- f(x) is old", "DROP TABLE users")), [
    "rails",
    "5 drop-table",
  ]);
  assert.deepEqual(await read(log("  (0.5ms)  SELECT a", "  -> 'b' FROM t;", "DROP TABLE users")), [
    "rails",
    "5 drop-table",
  ]);
  assert.deepEqual(await read(log("  (0.5ms)  SELECT 1", "[4f] [web]   (0.3ms)  DROP TABLE users")), [
    "rails",
    "3 syntax-error",
    "4 dynamic-sql",
  ]);
  assert.deepEqual(await read(log("web-1  |   (0.3ms)  DROP TABLE users"), "rails"), ["rails", "3 dynamic-sql"]);
  assert.deepEqual(await read("DROP TABLE users;", "rails"), ["rails", "1 dynamic-sql"]);
});

test("plain SQL on standard input is not taken for a log or for Django's by a remark in it", async () => {
  const read = async (sql: string) => {
    const { runner, findings } = await judge(sql, { path: "-" });
    return [runner, ...findings.filter(({ level }) => level === "error").map(({ line, rule }) => `${line} ${rule}`)];
  };
  const backfill = "ALTER TABLE users ADD COLUMN c int;\nUPDATE users SET c = 1 WHERE id BETWEEN 1 AND 9;";
  assert.deepEqual(await read("-- took (12.3ms)\nDROP TABLE users;"), ["plain", "2 drop-table"]);
  assert.deepEqual(await read("/* slow:\n  (12.3ms)  SELECT */\nDROP TABLE users;"), ["plain", "3 drop-table"]);
  assert.deepEqual(await read("DROP TABLE users;\n  (12.3ms)  SELECT 1;"), ["plain", "1 drop-table", "2 syntax-error"]);
  assert.deepEqual(await read(`--\n-- Name: users; Type: TABLE\n--\n${backfill}`), ["plain", "5 backfill-under-lock"]);
  assert.deepEqual(await read(`SELECT 1;\n--\n-- Add field c to user\n--\n${CONCURRENT}`), [
    "plain",
    "5 concurrently-in-transaction",
  ]);
});

const STRINGS = [
  CONCURRENT,
  TWO,
  `${CONCURRENT} SELECT 1;`,
  OWN,
  `SELECT 1; ${OWN} SELECT 2;`,
  `${OWN} ${CONCURRENT}`,
  "VACUUM users;",
  "SELECT 1; VACUUM users;",
  "CREATE TYPE mood AS ENUM ('a'); BEGIN; ALTER TYPE mood ADD VALUE 'b'; COMMIT; SELECT 'b'::mood;",
];

test("a string of statements is refused where PostgreSQL refuses it", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  for (const [number, sql] of STRINGS.entries()) {
    await postgres.query(`CREATE DATABASE string_${number}`);
    const client = await postgres.client(`string_${number}`);
    await client.query("CREATE TABLE users (a int, b int)");
    const refused = await client.query(sql).then(
      () => false,
      () => true,
    );
    await client.end();
    const found = errorsOf(await judge(sql, { path: "1_x.up.sql" }));
    assert.equal(found.includes("concurrently-in-transaction") || found.includes("transaction-control"), refused, sql);
  }
});
