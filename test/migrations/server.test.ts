import assert from "node:assert/strict";
import test from "node:test";
import { startPostgres } from "../support/postgres";
import { errorsOf, judge, table, USERS } from "./support";

const after = USERS;
const VIRTUAL = "ALTER TABLE users ADD COLUMN twice int GENERATED ALWAYS AS (age * 2) VIRTUAL;";
const NOT_NULL = "ALTER TABLE users ADD CONSTRAINT aged NOT NULL age NOT VALID;";
table("the server's version decides what exists", [
  [VIRTUAL, "generated-column", { after }],
  [VIRTUAL, "generated-column", { after, postgres: 17 }],
  [VIRTUAL, "", { after, postgres: 18 }],
  [NOT_NULL, "set-not-null", { after }],
  [NOT_NULL, "set-not-null", { after, postgres: 17 }],
  [NOT_NULL, "warn:tighten-constraint", { after, postgres: 18 }],
  [NOT_NULL.replace(" NOT VALID", ""), "set-not-null", { after, postgres: 18 }],
  [
    "ALTER TABLE users ALTER COLUMN age SET NOT NULL;",
    "",
    { after: [USERS, NOT_NULL, "ALTER TABLE users VALIDATE CONSTRAINT aged;"], postgres: 18 },
  ],
]);

table("a query that goes through a table while another one is locked", [
  ["ALTER TABLE users ADD COLUMN c int; SELECT count(*) FROM users;", "backfill-under-lock"],
  ["ALTER TABLE users ADD COLUMN c int; SELECT count(*) FROM others WHERE x IS NULL;", "backfill-under-lock"],
  ["ALTER TABLE users ADD COLUMN c int; SELECT count(*) FROM others;", "", { transaction: "none" }],
  ["ALTER TABLE users ADD COLUMN c int; SELECT name FROM users WHERE id = 1;", "", { after }],
  ["ALTER TABLE users ADD COLUMN c int; SELECT name FROM users LIMIT 1;", ""],
  ["ALTER TABLE users ADD COLUMN c int; SELECT 1 FROM pg_class;", ""],
  ["ALTER TABLE users ADD COLUMN c int; SELECT 1 FROM information_schema.columns;", ""],
  ["CREATE TABLE t (a int); ALTER TABLE t ADD COLUMN c int; SELECT count(*) FROM users;", ""],
  ["SELECT count(*) FROM users; ALTER TABLE users ADD COLUMN c int;", ""],
  ["ALTER TABLE users ADD COLUMN c int; DO $$ BEGIN IF EXISTS (SELECT 1 FROM users) THEN NULL; END IF; END $$;", ""],
]);

const VIEW =
  "CREATE TABLE users (id bigint PRIMARY KEY, name text, ip cidr); CREATE VIEW people AS SELECT id, name FROM users;";
const REPLACED = [
  "SELECT id, name FROM users",
  "SELECT id, name, 1 AS more FROM users",
  "SELECT id FROM users",
  "SELECT name, id FROM users",
  "SELECT id, upper(name) FROM users",
  "SELECT u.* FROM users u",
  "SELECT * FROM (SELECT id, name FROM users) AS x",
  "WITH x AS (SELECT id, name FROM users) SELECT * FROM x",
];

test("a view is replaced where PostgreSQL replaces it, and cidr becomes inet in the catalogue alone", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const client = await postgres.client();
  await client.query(VIEW);
  for (const query of REPLACED) {
    const sql = `CREATE OR REPLACE VIEW people AS ${query};`;
    await client.query("BEGIN");
    const refused = await client.query(sql).then(
      () => false,
      () => true,
    );
    await client.query("ROLLBACK");
    assert.equal(errorsOf(await judge(sql, { after: VIEW })).includes("replace-view"), refused, sql);
  }
  const file = async () => (await client.query("SELECT pg_relation_filenode('users') AS f")).rows[0].f;
  const before = await file();
  const retyped = "ALTER TABLE users ALTER COLUMN ip TYPE inet;";
  await client.query(retyped);
  assert.equal(await file(), before);
  assert.deepEqual(errorsOf(await judge(retyped, { after: VIEW })), []);
  assert.deepEqual(errorsOf(await judge(retyped.replace("inet", "cidr"), { after: VIEW.replace("cidr", "inet") })), [
    "change-column-type",
  ]);
  await client.end();
});
