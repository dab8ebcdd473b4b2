import assert from "node:assert/strict";
import test from "node:test";
import { orderMigrations, undoes } from "../../src/migrations/runners/names";
import { errorsOf, judge, table } from "./support";

const none = { transaction: "none" } as const;

table("transactions", [
  ["BEGIN; ALTER TABLE users ADD COLUMN a int; COMMIT;", "transaction-control"],
  ["BEGIN; ALTER TABLE users ADD COLUMN a int; COMMIT;", "", none],
  ["START TRANSACTION; SELECT 1; END;", "", none],
  ["COMMIT;", "transaction-control"],
  ["SELECT 1; COMMIT; SELECT 2;", "transaction-control"],
  ["SELECT 1; ROLLBACK;", "transaction-control"],
  ["COMMIT;", "transaction-control", none],
  ["BEGIN; SELECT 1;", "transaction-control", none],
  ["BEGIN; BEGIN; COMMIT;", "transaction-control", none],
  ["SAVEPOINT s; SELECT 1; RELEASE s;", ""],
  ["SAVEPOINT s;", "transaction-control", none],
  ["RELEASE s;", "transaction-control"],
  ["ROLLBACK TO s;", "transaction-control"],
  ["BEGIN; SELECT 1; PREPARE TRANSACTION 'x';", "transaction-control", none],
  ["BEGIN; CREATE TABLE t (a int); ROLLBACK; DROP TABLE t;", "drop-table", none],
  ["BEGIN; CREATE TABLE t (a int); COMMIT; DROP TABLE t;", "", none],
  ["SAVEPOINT s; CREATE TABLE t (a int); ROLLBACK TO SAVEPOINT s; DROP TABLE t;", "drop-table"],
  ["SAVEPOINT s; CREATE TABLE t (a int); RELEASE SAVEPOINT s; DROP TABLE t;", ""],
  ["BEGIN; CREATE TABLE t (a int); ROLLBACK AND CHAIN; DROP TABLE t; COMMIT;", "drop-table", none],
  ["BEGIN; SET LOCAL search_path = app; CREATE TABLE t (a int); COMMIT; DROP TABLE app.t;", "", none],
  ["BEGIN; SET LOCAL search_path = app; COMMIT; CREATE TABLE t (a int); DROP TABLE public.t;", "", none],
  ["BEGIN; SET search_path = app; ROLLBACK; CREATE TABLE t (a int); DROP TABLE public.t;", "", none],
  ["SET lock_timeout = '2s'; SET LOCAL statement_timeout = '5s'; ALTER TABLE users ADD COLUMN a int;", ""],
  ["SET standard_conforming_strings = off; SELECT 1;", "unknown-code"],
  ["CREATE DATABASE x;", "concurrently-in-transaction"],
]);

table("code inside of code", [
  ["DO $$ BEGIN DROP TABLE users; END $$;", "drop-table"],
  ["DO LANGUAGE plpgsql 'BEGIN DROP TABLE users; END';", "drop-table"],
  ["DO $$ BEGIN IF NOT EXISTS (SELECT 1) THEN DROP TABLE users; END IF; END $$;", "drop-table"],
  ["DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$;", "drop-table"],
  ["DO $$ BEGIN EXECUTE 'DROP ' || 'TABLE ' || 'users'; END $$;", "drop-table"],
  ["DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'users'); END $$;", "drop-table"],
  ["DO $$ BEGIN EXECUTE format('ALTER TABLE %I ADD COLUMN a int', 'users'); END $$;", ""],
  ["DO $$ BEGIN EXECUTE concat('DROP TABLE ', quote_ident('users')); END $$;", "drop-table"],
  ["DO $$ DECLARE s text := 'DROP TABLE users'; BEGIN EXECUTE s; END $$;", "drop-table"],
  ["DO $$ DECLARE s text; BEGIN s := 'DROP TABLE users'; EXECUTE s; END $$;", "drop-table"],
  ["DO $$ DECLARE s text := 'SELECT 1'; BEGIN s := 'DROP TABLE users'; EXECUTE s; END $$;", "dynamic-sql"],
  ["DO $$ DECLARE t CONSTANT text := 'users'; BEGIN EXECUTE 'DROP TABLE ' || t; END $$;", "drop-table"],
  [
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT tablename FROM pg_tables LOOP EXECUTE 'DROP TABLE ' || r.tablename; END LOOP; END $$;",
    "dynamic-sql",
  ],
  ["DO $$ DECLARE t text; BEGIN SELECT x INTO t FROM y; EXECUTE t; END $$;", "dynamic-sql"],
  ["DO $$ DECLARE t text := 'SELECT 1'; BEGIN SELECT x INTO t FROM y; EXECUTE t; END $$;", "dynamic-sql"],
  ["DO $$ BEGIN EXECUTE 'DO $x$ BEGIN DROP TABLE users; END $x$'; END $$;", "drop-table"],
  ["DO $$ DECLARE r record; BEGIN FOR r IN EXECUTE 'SELECT 1' LOOP NULL; END LOOP; END $$;", ""],
  ["DO $$ BEGIN PERFORM setval('s', 1); END $$;", "sequence-reset"],
  ["DO $$ DECLARE x bigint; BEGIN x := setval('s', 1); END $$;", "sequence-reset"],
  ["DO $$ BEGIN IF setval('s', 1) > 0 THEN NULL; END IF; END $$;", "sequence-reset"],
  ["DO $$ BEGIN CREATE TABLE t (a int); DROP TABLE t; END $$;", ""],
  ["DO $$ BEGIN CREATE TABLE t (a int); END $$; ALTER TABLE t DROP COLUMN a;", ""],
  ["DO $$ BEGIN IF x THEN CREATE TABLE t (a int); END IF; END $$; ALTER TABLE t DROP COLUMN a;", "drop-column"],
  ["DO $$ BEGIN CREATE TABLE t (a int); EXCEPTION WHEN duplicate_table THEN NULL; END $$; DROP TABLE t;", "drop-table"],
  [
    "DO $$ BEGIN CREATE TYPE mood AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$; ALTER TABLE users ADD COLUMN m mood;",
    "",
  ],
  [
    "DO $$ BEGIN IF false THEN ALTER TABLE users VALIDATE CONSTRAINT c; END IF; END $$; ALTER TABLE users ALTER COLUMN a SET NOT NULL;",
    "set-not-null",
    { after: "ALTER TABLE users ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID;" },
  ],
  [
    "DO $$ BEGIN LOOP UPDATE users SET a = 1 WHERE id IN (SELECT id FROM users WHERE a IS NULL LIMIT 1000); EXIT WHEN NOT FOUND; COMMIT; END LOOP; END $$;",
    "",
    none,
  ],
  [
    "DO $$ BEGIN LOOP UPDATE users SET a = 1 WHERE id IN (SELECT id FROM users WHERE a IS NULL LIMIT 1000); EXIT WHEN NOT FOUND; COMMIT; END LOOP; END $$;",
    "transaction-control",
  ],
  [
    "DO $$ BEGIN ALTER TABLE users ADD COLUMN a int; UPDATE users SET a = 1 WHERE id BETWEEN 1 AND 10; END $$;",
    "backfill-under-lock",
    none,
  ],
  [
    "DO $$ BEGIN ALTER TABLE users ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT c; END $$;",
    "validate-in-transaction",
    none,
  ],
  ["DO LANGUAGE plpython3u $$ plpy.execute('DROP TABLE users') $$;", "unknown-code"],
  ["DO $$ this is not PL/pgSQL $$;", "unknown-code"],
  ["DO $$ BEGIN DROP TABEL users; END $$;", "unknown-code"],
  ["CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE users; END $$;", ""],
  ["CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE users; END $$; SELECT f();", "drop-table"],
  [
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE users; END $$; SELECT * FROM f();",
    "drop-table",
  ],
  [
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE users; END $$; DO $$ BEGIN PERFORM f(); END $$;",
    "drop-table",
  ],
  [
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE users; END $$; CREATE FUNCTION g() RETURNS void LANGUAGE sql AS 'SELECT f()'; SELECT g();",
    "drop-table",
  ],
  ["CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM users; $$; SELECT f();", "unbounded-write"],
  ["CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM users; END; SELECT f();", "unbounded-write"],
  ["CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN TRUNCATE users; END $$; CALL p();", "truncate"],
  [
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM users; RETURN 1; END $$; INSERT INTO t VALUES (f());",
    "unbounded-write",
  ],
  ["CREATE FUNCTION f() RETURNS void LANGUAGE c AS 'lib', 'f'; SELECT f();", "unknown-code"],
  ["CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM f(); END $$; SELECT f();", ""],
  ["SELECT unknown_function();", "unknown-code"],
  ["CALL unknown_procedure();", "unknown-code"],
  [
    "SELECT f();",
    "unbounded-write",
    { after: "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM users';" },
  ],
  [
    "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT 1'; SELECT f();",
    "",
    { after: "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM users';" },
  ],
  ["SELECT now(), count(*), coalesce(max(id), 0), to_regclass('x') FROM users;", ""],
  ["SELECT query_to_xml('DROP TABLE users', true, true, '');", "unknown-code"],
  [
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := NEW.b; RETURN NEW; END $$; CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f();",
    "",
  ],
  ["COPY users FROM PROGRAM 'cat x';", "copy-program"],
  ["COPY users TO PROGRAM 'cat';", "copy-program"],
  ["COPY users TO STDOUT;", ""],
  ["COPY (DELETE FROM users RETURNING *) TO STDOUT;", "unbounded-write"],
  ["ALTER SYSTEM SET work_mem = '1GB';", "access-change", none],
  ["LOAD 'lib';", "unknown-code"],
  ["DECLARE c CURSOR FOR SELECT 1; FETCH ALL FROM c; CLOSE c;", ""],
]);

table("texts, names and comments", [
  ["-- DROP TABLE users;\nSELECT 1;", ""],
  ["/* DROP TABLE users; /* nested */ DROP TABLE users; */ SELECT 1;", ""],
  ["SELECT 'DROP TABLE users;';", ""],
  ["SELECT $x$ DROP TABLE users; $x$;", ""],
  ["SELECT E'\\'; DROP TABLE users; --';", ""],
  ["SELECT '\\'; DROP TABLE users; --';", "drop-table"],
  ['DROP TABLE U&"us\\0065rs";', "drop-table"],
  ['CREATE TABLE users (a int); DROP TABLE U&"us\\0065rs";', ""],
  ['CREATE TABLE "Us;ers" (a int); DROP TABLE "Us;ers";', ""],
  ["DROP/* */TABLE\n-- x\nusers", "drop-table"],
  ["-- squawk-ignore\n-- sluice:ignore drop-table\n-- noqa\nDROP TABLE users; -- atlas:nolint", "drop-table"],
  ["", ""],
  ["-- nothing\n", ""],
  [";;;", ""],
  ["SELECT 1", ""],
  ["\ufeffSELECT 1;", ""],
  ["SELECT 1;\0DROP TABLE users;", "syntax-error"],
  ["ALTER TABL users;", "syntax-error"],
  ["SELECT 1; DROP TABL users; DROP TABLE teams;", "drop-table syntax-error"],
  ["SELECT 'unterminated;", "syntax-error"],
  ["\\set x 1\nSELECT 1;", "psql-command"],
  ["\\i other.sql", "psql-command"],
  ["SELECT 1 \\gexec", "psql-command"],
  ["\\echo x\nDROP TABLE users;", "drop-table psql-command"],
  ["SELECT :'name';", "syntax-error"],
  ["COPY t (a) FROM STDIN;\n1\tDROP TABLE users;\n\\.\nSELECT 1;", ""],
  ["COPY t (a) FROM STDIN;\n1\n\\.\nDROP TABLE users;", "drop-table"],
  ["SELECT 'é'; DROP TABLE users;", "drop-table"],
  ["-- x\rDROP TABLE users;", "drop-table"],
  ["COPY t FROM STDIN;\n1\n\\.\n-- x\rDROP TABLE users;", "drop-table"],
  ["COPY t FROM STDIN;\n1\n\\.\nCOPY (SELECT 'from stdin') TO STDOUT;\nDROP TABLE users;\n", "drop-table"],
]);

const GOOSE = "-- +goose Up\n";
table("what runners take from a file", [
  ["DROP TABLE users;", "", { path: "0001_x.down.sql" }],
  ["DROP TABLE users;", "drop-table", { path: "0001_x.up.sql" }],
  ["DROP TABLE users;", "", { path: "m/down.sql" }],
  ["DROP TABLE users;", "", { path: "U1__x.sql" }],
  ["DROP TABLE users;", "drop-table", { path: "V1__x.sql" }],
  ["DROP TABLE users;", "drop-table", { path: "R__x.sql" }],
  ["SELECT '$" + "{name}';", "dynamic-sql", { path: "V1__x.sql" }],
  ["SELECT 1;\n-- +goose Down\nDROP TABLE users;", "drop-table"],
  [`${GOOSE}SELECT 1;\n-- +goose Down\nDROP TABLE users;`, ""],
  [`${GOOSE}DROP TABLE users;\n-- +goose Down\nSELECT 1;`, "drop-table"],
  [`${GOOSE}SELECT 1;\n/*\n-- +goose Down\n*/\nDROP TABLE users;`, "drop-table dynamic-sql"],
  [`SELECT 0;\n${GOOSE}SELECT 1;\n-- +goose Down\nDROP TABLE users;`, "drop-table"],
  [`-- +goose NO TRANSACTION\n${GOOSE}CREATE INDEX CONCURRENTLY i ON users (a);`, ""],
  [`${GOOSE}-- +goose NO TRANSACTION\nCREATE INDEX CONCURRENTLY i ON users (a);`, ""],
  [`${GOOSE}CREATE INDEX CONCURRENTLY i ON users (a);`, "concurrently-in-transaction"],
  [
    `-- +goose NO TRANSACTION\n${GOOSE}CREATE INDEX CONCURRENTLY i ON users (a);\nCREATE INDEX CONCURRENTLY j ON users (b);`,
    "",
  ],
  [
    `-- +goose NO TRANSACTION\n${GOOSE}-- +goose StatementBegin\nCREATE INDEX CONCURRENTLY i ON users (a);\nCREATE INDEX CONCURRENTLY j ON users (b);\n-- +goose StatementEnd`,
    "concurrently-in-transaction",
  ],
  [
    `${GOOSE}-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;\n-- +goose StatementEnd`,
    "",
  ],
  ["-- +goose NO TRANSACTION\nCREATE INDEX CONCURRENTLY i ON users (a);", "concurrently-in-transaction"],
  [`-- +goose ENVSUB ON\n${GOOSE}SELECT '\${X}';`, "dynamic-sql"],
  ["-- migrate:up\nSELECT 1;\n-- migrate:down\nDROP TABLE users;", ""],
  ["-- migrate:up\nDROP TABLE users;\n-- migrate:down\n", "drop-table"],
  [
    "-- migrate:up transaction:false\r\nCREATE INDEX CONCURRENTLY i ON users (a);\r\n-- migrate:down\r\nDROP TABLE users;\r\n",
    "",
  ],
  ["-- +goose Up\r\nSELECT 1;\r\n-- +goose Down\r\nDROP TABLE users;\r\n", ""],
  ["-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON users (a);\n\n-- migrate:down\n", ""],
  [
    "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON users (a); SELECT 1;\n-- migrate:down\n",
    "concurrently-in-transaction",
  ],
  ["-- migrate:up\nCREATE INDEX CONCURRENTLY i ON users (a);\n", "concurrently-in-transaction"],
  ["-- migrate:up transaction:true\nCREATE INDEX CONCURRENTLY i ON users (a);\n", "concurrently-in-transaction"],
  ["BEGIN; ALTER TABLE users ADD COLUMN a int; COMMIT;", "", { path: "1_x.up.sql" }],
  ["CREATE INDEX CONCURRENTLY i ON users (a);", "", { path: "1_x.up.sql", ...none }],
  [
    "CREATE INDEX CONCURRENTLY i ON users (a); SELECT 1;",
    "concurrently-in-transaction",
    { path: "1_x.up.sql", ...none },
  ],
]);

test("a finding says where it is, also inside of code and after letters of several bytes", async () => {
  const at = async (sql: string) =>
    (await judge(sql)).findings.map(({ rule, line, column, statement }) => ({ rule, line, column, statement }));
  assert.deepEqual(await at("-- é\n\n  /* ü */ DROP TABLE users ; SELECT 1;"), [
    { rule: "drop-table", line: 3, column: 11, statement: "DROP TABLE users" },
  ]);
  assert.deepEqual(await at("SELECT 'éé'; DROP TABLE users"), [
    { rule: "drop-table", line: 1, column: 14, statement: "DROP TABLE users" },
  ]);
  assert.deepEqual(await at("DO $$\nBEGIN\n  DROP TABLE users;\nEND $$;"), [
    { rule: "drop-table", line: 3, column: 1, statement: "DROP TABLE users" },
  ]);
  assert.deepEqual(await at("SELECT 1;\nSELEC 2;\nSELECT 3;"), [
    { rule: "syntax-error", line: 2, column: 1, statement: "SELEC 2" },
  ]);
});

test("what an earlier file of the same check made is no longer exempt", async () => {
  const creation = "CREATE TABLE t (a int, b int);";
  assert.deepEqual(errorsOf(await judge(`${creation} ALTER TABLE t DROP COLUMN a;`)), []);
  assert.deepEqual(errorsOf(await judge("ALTER TABLE t DROP COLUMN a;", { after: creation })), ["drop-column"]);
});

test("a schema file lists existing objects, and is not judged", async () => {
  const schema =
    "SELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE public.users (id bigint NOT NULL, name character varying(50));\nALTER TABLE ONLY public.users ADD CONSTRAINT users_pkey PRIMARY KEY (id);";
  assert.deepEqual(errorsOf(await judge("ALTER TABLE users ALTER COLUMN name TYPE text;", { schema })), []);
  assert.deepEqual(errorsOf(await judge("ALTER TABLE users ALTER COLUMN id SET NOT NULL;", { schema })), []);
  assert.deepEqual(errorsOf(await judge("CREATE PUBLICATION p FOR ALL TABLES;", { schema })), []);
  assert.deepEqual(errorsOf(await judge("DROP TABLE users;", { schema })), ["drop-table"]);
});

test("migrations come in the order of their versions", () => {
  assert.deepEqual(orderMigrations(["V1.10__b.sql", "V1.9__a.sql", "R__z.sql", "V2__c.sql", "x.txt"]), [
    "V1.9__a.sql",
    "V1.10__b.sql",
    "V2__c.sql",
    "R__z.sql",
  ]);
  assert.deepEqual(
    orderMigrations(["10_b.up.sql", "9_a.up.sql", "9_a.down.sql"]).filter((path) => !undoes(path)),
    ["9_a.up.sql", "10_b.up.sql"],
  );
  assert.deepEqual(orderMigrations(["20240102_b/migration.sql", "20240101_a/migration.sql"]), [
    "20240101_a/migration.sql",
    "20240102_b/migration.sql",
  ]);
});
