import assert from "node:assert/strict";
import test from "node:test";
import { startPostgres } from "../support/postgres";
import { errorsOf, judge, table, USERS } from "./support";

const BEFORE = `CREATE TABLE users (id bigint PRIMARY KEY, name varchar(50), CONSTRAINT named CHECK (name <> ''));
  CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint CONSTRAINT orders_user REFERENCES users (id));
  CREATE VIEW names AS SELECT name FROM users;
  CREATE INDEX users_name ON users (name);
  CREATE TYPE mood AS ENUM ('glad'); ALTER TABLE users ADD COLUMN mood mood;
  CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
  CREATE TRIGGER stamped BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp();`;

const MAKES = [
  "CREATE TABLE users (id int);",
  "CREATE TABLE names (id int);",
  "CREATE TABLE users_name (id int);",
  "CREATE TABLE IF NOT EXISTS users (id int);",
  "CREATE TEMPORARY TABLE users (id int);",
  "CREATE VIEW names AS SELECT 1 AS a;",
  "CREATE OR REPLACE VIEW names AS SELECT name FROM users;",
  "CREATE OR REPLACE VIEW users AS SELECT 1 AS id;",
  "CREATE SEQUENCE orders_pkey;",
  "CREATE INDEX users_name ON orders (id);",
  "CREATE INDEX ON users (name);",
  "ALTER TABLE users ADD COLUMN name text;",
  "ALTER TABLE users ADD COLUMN IF NOT EXISTS name text;",
  "ALTER TABLE users ADD CONSTRAINT named CHECK (id > 0) NOT VALID;",
  "CREATE TYPE mood AS ENUM ('sad');",
  "CREATE DOMAIN mood AS text;",
  "CREATE TRIGGER stamped BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp();",
  "CREATE OR REPLACE TRIGGER stamped BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp();",
  "ALTER TABLE users RENAME TO people; CREATE TABLE users (id int);",
  "DROP VIEW names; CREATE VIEW names AS SELECT name FROM users;",
  "DROP TABLE users CASCADE; CREATE VIEW names AS SELECT 1 AS name; ALTER TABLE orders ADD CONSTRAINT orders_user CHECK (id > 0);",
  "ALTER TABLE users DROP COLUMN name CASCADE; CREATE VIEW names AS SELECT 1 AS name; CREATE INDEX users_name ON users (id);",
  "ALTER TABLE users RENAME COLUMN name TO nick; DROP VIEW names; ALTER TABLE users DROP COLUMN nick; CREATE INDEX users_name ON users (id);",
  "DROP TYPE mood CASCADE; ALTER TABLE users ADD COLUMN mood text;",
  "DROP TABLE users CASCADE; CREATE TABLE users (id int); CREATE TRIGGER stamped BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp();",
  "ALTER TABLE users RENAME TO people; CREATE TRIGGER stamped BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION stamp();",
  "CREATE TABLE t (id int); CREATE TABLE t (id int);",
  "CREATE TABLE IF NOT EXISTS t (id int); CREATE TABLE t (id int);",
];

test("making what is there already is an error where PostgreSQL refuses it, and only there", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const client = await postgres.client();
  for (const sql of MAKES) {
    await client.query("BEGIN");
    await client.query(BEFORE);
    const refused = await client.query(sql).then(
      () => false,
      () => true,
    );
    await client.query("ROLLBACK");
    const found = errorsOf(await judge(sql, { after: BEFORE })).includes("already-exists");
    // By IF NOT EXISTS a table of another file may have been there, and so have had other columns.
    assert.equal(found, refused && !sql.startsWith("CREATE TABLE IF NOT EXISTS t"), sql);
  }
  await client.end();
});

test("a finding says which file made it", async () => {
  const { findings } = await judge("CREATE TABLE users (id int);", { after: BEFORE });
  assert.equal(findings[0]?.message, "There is a table users already, from 0010_before.sql, so the statement fails.");
});

table("what a condition may have left out is not known to be there", [
  ["CREATE TABLE t (a int);", "", { after: "DO $$ BEGIN IF x THEN CREATE TABLE t (a int); END IF; END $$;" }],
  ["DO $$ BEGIN IF x THEN CREATE TABLE users (a int); END IF; END $$;", "", { after: BEFORE }],
  [
    "DO $$ BEGIN CREATE TYPE mood AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$;",
    "",
    { after: BEFORE },
  ],
  ["CREATE TABLE t (a int);", "", { after: "ALTER TABLE t ADD COLUMN b int;" }],
]);

table("writes to a column that the file adds lose nothing", [
  ["ALTER TABLE users ADD COLUMN c int; UPDATE users SET c = 1;", "backfill-under-lock", { after: USERS }],
  [
    "ALTER TABLE users ADD COLUMN IF NOT EXISTS c int; UPDATE users SET c = 1;",
    "backfill-under-lock",
    { after: USERS },
  ],
  [
    "ALTER TABLE users ADD COLUMN c int; UPDATE users SET c = 1, age = 2;",
    "backfill-under-lock unbounded-write",
    { after: USERS },
  ],
]);

test("such a write is a long lock, which no contract phase lets pass, and a join says what it writes", async () => {
  const found = async (sql: string) => {
    const { findings } = await judge(sql, { after: USERS, transaction: "none" });
    return findings
      .filter(({ rule }) => rule === "unbounded-write")
      .map(({ question, contractable, message }) => [question, contractable, message]);
  };
  assert.deepEqual(await found("ALTER TABLE users ADD COLUMN c int; UPDATE users SET c = age;"), [
    [
      "locks",
      false,
      "UPDATE on users leaves no row out, and each stays locked against the application's writes until the last one is written.",
    ],
  ]);
  assert.deepEqual(await found("UPDATE users SET age = o.age FROM others o WHERE o.id = users.id;"), [
    [
      "rollback",
      true,
      "UPDATE on users leaves out no row that has its counterpart in o: nothing tells afterwards what was there before.",
    ],
  ]);
});

table("owners and privileges that take nothing away", [
  ["ALTER TABLE users OWNER TO CURRENT_USER;", ""],
  ["ALTER FUNCTION f() OWNER TO SESSION_USER;", ""],
  ["ALTER TYPE mood OWNER TO CURRENT_ROLE;", ""],
  ["ALTER TYPE mood OWNER TO app;", "access-change"],
  ["CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO app;", ""],
  ["CREATE SCHEMA s; ALTER SCHEMA s OWNER TO app;", ""],
  ["DO $$ BEGIN EXECUTE 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO ' || current_user; END $$;", ""],
  ["DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', s, r); END $$;", ""],
  ["DO $$ BEGIN EXECUTE 'GRANT readers TO ' || quote_ident(r); END $$;", ""],
  ["DO $$ BEGIN EXECUTE 'REVOKE SELECT ON users FROM ' || r; END $$;", "dynamic-sql"],
  ["DO $$ BEGIN EXECUTE 'GRANT SELECT ON users TO ' || r || '; DROP TABLE users'; END $$;", "dynamic-sql"],
  ["DO $$ BEGIN EXECUTE 'GRANT ' || r; END $$;", "dynamic-sql"],
  ["DO $$ BEGIN EXECUTE r || ' SELECT ON users TO app'; END $$;", "dynamic-sql"],
]);

const COMPUTED =
  "CREATE TABLE t (id bigint PRIMARY KEY, name varchar(9), n int, twice int GENERATED ALWAYS AS (n * 2) STORED);";
table("a generated column matters to the columns that it is computed from", [
  ["ALTER TABLE t ALTER COLUMN name TYPE text;", "", { after: COMPUTED }],
  [
    "ALTER TABLE t ALTER COLUMN name TYPE text;",
    "change-column-type",
    { after: COMPUTED.replace("n * 2", "length(name)") },
  ],
]);

test("PostgreSQL widens a column beside an unrelated generated one in the catalogue alone", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const client = await postgres.client();
  const file = async () => (await client.query("SELECT pg_relation_filenode('t') AS f")).rows[0].f;
  await client.query(COMPUTED);
  const before = await file();
  await client.query("ALTER TABLE t ALTER COLUMN name TYPE text");
  assert.equal(await file(), before);
  await client.end();
});

test("a prepared SELECT * is warned of once in a file", async () => {
  const { findings } = await judge("ALTER TABLE users ADD COLUMN c int; ALTER TABLE users ADD COLUMN d int;", {
    after: USERS,
  });
  assert.equal(findings.filter(({ rule }) => rule === "cached-plan").length, 1);
});
