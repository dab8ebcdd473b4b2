import assert from "node:assert/strict";
import test from "node:test";
import { startPostgres } from "../support/postgres";
import { say } from "./proof/sessions";
import { type Case, judge, table } from "./support";

const BEFORE = `CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL DEFAULT 'x', age int, email text CONSTRAINT users_email UNIQUE);
  CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint CONSTRAINT orders_user REFERENCES users (id) ON DELETE CASCADE, total int CONSTRAINT total_positive CHECK (total > 0));
  CREATE VIEW people AS SELECT id, name FROM users;
  CREATE VIEW names AS SELECT name FROM people;
  CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM users;
  CREATE UNIQUE INDEX users_age ON users (age);
  CREATE FUNCTION twice(n int, by int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT n * by';
  CREATE FUNCTION pairs() RETURNS TABLE (a int, b int) LANGUAGE sql AS 'SELECT 1, 2';
  CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.age := 1; RETURN NEW; END $$;
  CREATE TRIGGER stamped BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp();`;
const given = { after: BEFORE };
const TRIGGER = "CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp();";
const KEY = "ALTER TABLE orders ADD CONSTRAINT orders_user FOREIGN KEY (user_id) REFERENCES users (id)";

/** Releases do as before after these, as a statement of theirs shows. */
const SERVES: readonly (readonly [sql: string, release: string])[] = [
  ["DROP VIEW names; CREATE VIEW names AS SELECT name, 1 AS more FROM people;", "SELECT name FROM names"],
  ["DROP VIEW names; CREATE VIEW names AS SELECT * FROM people;", "SELECT name FROM names"],
  [
    "DROP VIEW names, people; CREATE VIEW people AS SELECT u.*, 5 FROM users u; CREATE VIEW names (name) AS SELECT name FROM people;",
    "SELECT name FROM names",
  ],
  [
    "DROP VIEW people CASCADE; CREATE VIEW people AS SELECT age, name, id FROM users; CREATE VIEW names AS SELECT name FROM people;",
    "SELECT n.name, p.id FROM names n, people p",
  ],
  [
    "DROP VIEW names; CREATE VIEW names AS WITH a AS (SELECT name AS x FROM people) SELECT coalesce(x, '') AS name FROM a;",
    "SELECT name FROM names",
  ],
  [
    "DROP VIEW names; CREATE VIEW names AS SELECT name FROM users UNION SELECT name FROM people;",
    "SELECT name FROM names",
  ],
  [
    "DROP VIEW names; CREATE VIEW names AS SELECT name::varchar FROM users JOIN orders USING (id);",
    "SELECT name FROM names",
  ],
  [`DROP TRIGGER stamped ON users; ${TRIGGER}`, "INSERT INTO users (id) VALUES (7) RETURNING age"],
  [
    "DROP FUNCTION twice(int, int); CREATE FUNCTION twice(number int, by int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT number * by';",
    "SELECT twice(3)",
  ],
  [
    "DROP FUNCTION pairs; CREATE FUNCTION pairs() RETURNS TABLE (a int, b int, c int) LANGUAGE sql AS 'SELECT 1, 2, 3';",
    "SELECT a, b FROM pairs()",
  ],
  [
    "ALTER TABLE users ALTER name DROP DEFAULT, ALTER name SET DEFAULT 'x';",
    "INSERT INTO users (id) VALUES (7) RETURNING name",
  ],
  [
    "ALTER TABLE users ALTER name DROP DEFAULT; ALTER TABLE users ALTER name SET DEFAULT 'x';",
    "INSERT INTO users (id) VALUES (7) RETURNING name",
  ],
  [
    `ALTER TABLE orders DROP CONSTRAINT orders_user; ${KEY} ON DELETE CASCADE ON UPDATE CASCADE NOT VALID;`,
    "DELETE FROM users WHERE id = 1",
  ],
  [
    "ALTER TABLE orders DROP CONSTRAINT total_positive, ADD CONSTRAINT positive CHECK (total > 0) NOT VALID;",
    "INSERT INTO orders (id, total) VALUES (9, 0)",
  ],
];

test("what comes back in the same transaction is no loss, and PostgreSQL shows it", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  for (const [number, [sql, release]] of SERVES.entries()) {
    const { findings } = await judge(sql, given);
    assert.deepEqual(
      findings.filter(({ level }) => level === "error").map(({ rule, message }) => `${rule}: ${message}`),
      [],
      sql,
    );
    await postgres.query(`CREATE DATABASE remade_${number}`);
    const client = await postgres.client(`remade_${number}`);
    await client.query(BEFORE);
    await client.query("INSERT INTO users (id) VALUES (1); INSERT INTO orders VALUES (1, 1, 1)");
    const attempt = async () => {
      await client.query("BEGIN");
      const said = await say(client, release);
      await client.query("ROLLBACK");
      return "refused" in said ? said.refused : said.answer;
    };
    const before = await attempt();
    await client.query(`BEGIN; ${sql} COMMIT;`);
    const after = await attempt();
    const strip = (answer: unknown) => JSON.stringify(answer, (key, value) => (key === "types" ? undefined : value));
    assert.equal(strip(after), strip(before), `${sql} ${release}`);
    await client.end();
  }
});

const cases = (list: readonly (readonly [string, string])[]): readonly Case[] =>
  list.map(([sql, rules]): Case => [sql, rules, given]);

table("what does not come back as it was is a loss", [
  ...cases([
    ["DROP VIEW people CASCADE; CREATE VIEW people AS SELECT id, name FROM users;", "drop-object"],
    ["DROP VIEW names; CREATE VIEW names AS SELECT id FROM people;", "drop-object"],
    ["DROP VIEW names; CREATE VIEW names AS SELECT upper(name) FROM people;", "drop-object"],
    ["DROP VIEW names; CREATE VIEW names AS SELECT * FROM elsewhere;", "drop-object"],
    ["DROP VIEW names; CREATE VIEW names AS SELECT name FROM people; DROP VIEW names;", "drop-object"],
    ["DROP VIEW names; CREATE TEMPORARY VIEW names AS SELECT name FROM people;", "drop-object"],
    ["DROP VIEW elsewhere; CREATE VIEW elsewhere AS SELECT name FROM people;", "drop-object"],
    ["DROP TRIGGER stamped ON users;", "drop-trigger"],
    [`DROP TRIGGER stamped ON users; ${TRIGGER} DROP TRIGGER stamped ON users;`, "drop-trigger"],
    [`DROP TRIGGER stamped ON users; ${TRIGGER.replace("ON users", "ON orders")}`, "drop-trigger"],
    [
      "DROP FUNCTION twice(int, int); CREATE FUNCTION twice(n int, by int) RETURNS int LANGUAGE sql AS 'SELECT n * by';",
      "drop-object",
    ],
    [
      "DROP FUNCTION twice(int, int); CREATE FUNCTION twice(n int, by int DEFAULT 2) RETURNS text LANGUAGE sql AS 'SELECT n::text';",
      "drop-object",
    ],
    [
      "DROP FUNCTION twice(int, int); CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n';",
      "drop-object",
    ],
    [
      "DROP FUNCTION pairs; CREATE FUNCTION pairs() RETURNS TABLE (a int, c int) LANGUAGE sql AS 'SELECT 1, 2';",
      "drop-object",
    ],
    [
      "DROP FUNCTION stamp() CASCADE; CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;",
      "drop-object",
    ],
    ["ALTER TABLE users ALTER name DROP DEFAULT, ALTER age SET DEFAULT 1;", "drop-default"],
    ["ALTER TABLE users ALTER name SET DEFAULT 'x', ALTER name DROP DEFAULT;", "drop-default"],
    [`ALTER TABLE orders DROP CONSTRAINT orders_user; ${KEY} NOT VALID;`, "drop-constraint"],
    [
      "ALTER TABLE orders DROP CONSTRAINT orders_user; ALTER TABLE orders ADD CONSTRAINT orders_user FOREIGN KEY (user_id) REFERENCES orders (id) ON DELETE CASCADE NOT VALID;",
      "drop-constraint",
    ],
    [
      "ALTER TABLE orders DROP CONSTRAINT total_positive; ALTER TABLE orders ADD CONSTRAINT total_positive CHECK (id > 0) NOT VALID;",
      "drop-constraint",
    ],
    [
      `ALTER TABLE orders DROP CONSTRAINT orders_user; ${KEY} ON DELETE CASCADE NOT VALID; ALTER TABLE orders DROP CONSTRAINT orders_user;`,
      "drop-constraint",
    ],
    [
      "ALTER TABLE orders DROP CONSTRAINT total_positive; ALTER TABLE orders ADD CONSTRAINT total_positive CHECK (total > 0 OR total < -5) NOT VALID;",
      "warn:drop-constraint",
    ],
    [
      "ALTER TABLE users DROP CONSTRAINT users_email; ALTER TABLE users ADD CONSTRAINT users_mail UNIQUE (email);",
      "drop-constraint unique-constraint",
    ],
    [
      "ALTER TABLE users DROP CONSTRAINT users_email; ALTER TABLE users ADD CONSTRAINT users_email UNIQUE (email);",
      "unique-constraint",
    ],
    ["DROP INDEX users_age; CREATE UNIQUE INDEX users_age_2 ON users (age);", "drop-index create-index"],
    ["DROP INDEX users_age; CREATE INDEX users_age_2 ON users (age);", "drop-index create-index drop-unique-index"],
  ]),
  ["DROP VIEW names; CREATE VIEW names AS SELECT name FROM people;", "drop-object", { ...given, transaction: "none" }],
  ["ALTER TABLE users ALTER name DROP DEFAULT, ALTER name SET DEFAULT 'y';", "", { ...given, transaction: "none" }],
  [
    "DROP VIEW names; CREATE VIEW names AS SELECT name FROM people;",
    "drop-object",
    { after: [BEFORE, "GRANT SELECT ON names TO app;"] },
  ],
  [
    "DROP VIEW names; CREATE VIEW names AS SELECT name FROM people; GRANT SELECT ON names TO app;",
    "",
    { after: [BEFORE, "GRANT SELECT ON names TO app;"] },
  ],
]);

test("a finding says which columns of a view go", async () => {
  const { findings } = await judge(
    "DROP VIEW people CASCADE; CREATE VIEW people AS SELECT id AS no FROM users;",
    given,
  );
  assert.equal(findings[0]?.message, "Releases that read id, name of view people fail: it comes back without them.");
});

const SHOWN = (sql: string, rules: string, more: string): Case => [
  `DROP VIEW names; CREATE VIEW names AS ${sql}`,
  rules,
  { after: [BEFORE, more] },
];
const COUNTS = "DROP MATERIALIZED VIEW counts; CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM users";
const INDEXED = { after: [BEFORE, "CREATE UNIQUE INDEX counts_n ON counts (n);"] };
table("a view comes back with all that hangs on it, or is lost", [
  SHOWN("SELECT name FROM people; GRANT SELECT ON names TO b;", "drop-object", "GRANT SELECT ON names TO a, b;"),
  SHOWN("SELECT name FROM people; GRANT ALL ON names TO b, a;", "", "GRANT SELECT ON names TO a, b;"),
  SHOWN("SELECT name FROM people; GRANT SELECT ON names TO a;", "drop-object", "GRANT SELECT (name) ON names TO a;"),
  SHOWN(
    "SELECT name FROM people; GRANT SELECT ON names TO a;",
    "drop-object",
    "GRANT SELECT ON names TO a WITH GRANT OPTION;",
  ),
  SHOWN(
    "SELECT name FROM people;",
    "drop-object",
    "CREATE TRIGGER t INSTEAD OF INSERT ON names FOR EACH ROW EXECUTE FUNCTION stamp();",
  ),
  SHOWN(
    "SELECT name FROM people; CREATE TRIGGER t INSTEAD OF INSERT ON names FOR EACH ROW EXECUTE FUNCTION stamp();",
    "",
    "CREATE TRIGGER t INSTEAD OF INSERT ON names FOR EACH ROW EXECUTE FUNCTION stamp();",
  ),
  SHOWN("SELECT name FROM people;", "drop-object", "CREATE RULE r AS ON INSERT TO names DO INSTEAD NOTHING;"),
  SHOWN("SELECT name::int FROM people;", "warn:drop-object", "SELECT 1;"),
  SHOWN("SELECT id::text AS name FROM people;", "warn:drop-object", "SELECT 1;"),
  [`${COUNTS};`, "backfill-under-lock", given],
  [`${COUNTS} WITH NO DATA;`, "drop-object", given],
  [`${COUNTS};`, "backfill-under-lock drop-object", INDEXED],
  [`${COUNTS}; CREATE UNIQUE INDEX counts_n ON counts (n);`, "backfill-under-lock", INDEXED],
]);

const STAMPED = (trigger: string, rules = "drop-trigger", was = TRIGGER.replace(" OR UPDATE", "")): Case => [
  `DROP TRIGGER stamped ON users; CREATE TRIGGER stamped ${trigger};`,
  rules,
  {
    after: `CREATE TABLE users (id bigint, age int, name text); CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; ${was}`,
  },
];
const UPDATES = "CREATE TRIGGER stamped AFTER UPDATE OF age ON users FOR EACH ROW EXECUTE FUNCTION stamp();";
table("a trigger that comes back otherwise is a loss", [
  STAMPED("BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp()", ""),
  STAMPED("BEFORE DELETE OR INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp()", ""),
  STAMPED("AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION stamp()"),
  STAMPED("BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp()"),
  STAMPED("AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp()"),
  STAMPED("BEFORE INSERT ON users FOR EACH STATEMENT EXECUTE FUNCTION stamp()"),
  STAMPED("BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.id > 1) EXECUTE FUNCTION stamp()"),
  STAMPED("BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION other()"),
  STAMPED("BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp('x')"),
  STAMPED("AFTER UPDATE OF name ON users FOR EACH ROW EXECUTE FUNCTION stamp()", "drop-trigger", UPDATES),
  STAMPED("AFTER UPDATE OF age, name ON users FOR EACH ROW EXECUTE FUNCTION stamp()", "", UPDATES),
  STAMPED("AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp()", "", UPDATES),
  STAMPED(
    "AFTER UPDATE OF age ON users FOR EACH ROW EXECUTE FUNCTION stamp()",
    "drop-trigger",
    UPDATES.replace(" OF age", ""),
  ),
  STAMPED("BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp()", "drop-trigger", ""),
]);

const REMADE = (was: string, is: string): Case => [
  `ALTER TABLE likes DROP CONSTRAINT k; ALTER TABLE likes ADD CONSTRAINT k ${is} NOT VALID;`,
  "drop-constraint",
  {
    after: `CREATE TABLE users (id int PRIMARY KEY, no int UNIQUE); CREATE TABLE likes (a int, b int, CONSTRAINT k ${was});`,
  },
];
const TO = "FOREIGN KEY (a) REFERENCES users";
const OVER = "EXCLUDE USING gist";
table("a constraint that comes back otherwise is a loss", [
  REMADE(`${TO} (id)`, `${TO} (id) ON DELETE CASCADE`),
  REMADE(`${TO} (id) ON DELETE CASCADE`, `${TO} (id) ON DELETE SET NULL`),
  REMADE(`${TO} (id) ON DELETE SET NULL`, `${TO} (id) ON DELETE SET DEFAULT`),
  REMADE(`${TO} (id) ON UPDATE CASCADE`, `${TO} (id)`),
  REMADE(`${TO} (id) ON UPDATE SET NULL`, `${TO} (id) ON UPDATE RESTRICT`),
  REMADE(`${TO} (id) DEFERRABLE INITIALLY DEFERRED`, `${TO} (id)`),
  REMADE(`${TO} (id) DEFERRABLE INITIALLY DEFERRED`, `${TO} (id) DEFERRABLE`),
  REMADE(`${TO} (id)`, `${TO} (no)`),
  REMADE(`${TO}`, `${TO} (no)`),
  REMADE(`${TO} (id)`, `${TO} (id) MATCH FULL`),
  REMADE("FOREIGN KEY (a, b) REFERENCES t (x, y)", "FOREIGN KEY (b, a) REFERENCES t (x, y)"),
]);

const AGAIN = (was: string, is: string, rules: string): Case => {
  const [sql, , more = {}] = REMADE(was, is);
  return [sql.replace(" NOT VALID", ""), rules, more];
};
table("a constraint that comes back as it was is none", [
  AGAIN(`${TO} ON DELETE CASCADE DEFERRABLE`, `${TO} (id) ON DELETE CASCADE DEFERRABLE NOT VALID`, ""),
  AGAIN("FOREIGN KEY (a, b) REFERENCES t (x, y)", "FOREIGN KEY (b, a) REFERENCES t (y, x) NOT VALID", ""),
  AGAIN(`${OVER} (a WITH =)`, `${OVER} (a WITH =)`, "exclusion-constraint"),
  AGAIN(`${OVER} (a WITH =)`, `${OVER} (a WITH <>)`, "drop-constraint exclusion-constraint"),
  AGAIN(`${OVER} (a WITH =)`, `${OVER} (a WITH =) WHERE (a > 0)`, "drop-constraint exclusion-constraint"),
  AGAIN("UNIQUE (a)", "UNIQUE (a) DEFERRABLE", "drop-constraint unique-constraint"),
  AGAIN("UNIQUE (a)", "UNIQUE NULLS NOT DISTINCT (a)", "drop-constraint unique-constraint"),
]);

const KEYS = `${BEFORE} CREATE TABLE likes (id bigint PRIMARY KEY, a int NOT NULL, b int NOT NULL, CONSTRAINT likes_key UNIQUE (a, b));`;
table("what goes with its table or column, or can't be missed, is no loss of its own", [
  ["ALTER TABLE orders DROP CONSTRAINT orders_user; DROP TABLE orders;", "drop-table", given],
  ["ALTER TABLE elsewhere DROP CONSTRAINT orders_user; DROP TABLE elsewhere;", "drop-table"],
  ["ALTER TABLE orders DROP CONSTRAINT orders_user; ALTER TABLE orders DROP COLUMN user_id;", "drop-column", given],
  ["ALTER TABLE orders DROP CONSTRAINT orders_user, DROP COLUMN total;", "drop-constraint drop-column", given],
  ["ALTER TABLE orders DROP CONSTRAINT orders_user; DROP TABLE users;", "drop-constraint drop-table", given],
  ["ALTER TABLE users ALTER name DROP DEFAULT, ALTER name DROP NOT NULL, DROP COLUMN name;", "drop-column", given],
  ["DROP TRIGGER stamped ON users; DROP FUNCTION stamp; DROP TABLE users CASCADE;", "drop-table", given],
  ["DROP TRIGGER stamped ON users; DROP FUNCTION stamp;", "drop-trigger", given],
  ["DROP FUNCTION stamp() CASCADE;", "drop-object", given],
  ["DROP FUNCTION elsewhere();", "drop-object", given],
  [
    "ALTER TABLE likes DROP COLUMN id, DROP CONSTRAINT likes_key, ADD PRIMARY KEY (b, a);",
    "drop-column unique-constraint",
    { after: KEYS },
  ],
  [
    "ALTER TABLE likes DROP CONSTRAINT likes_key, ADD PRIMARY KEY (a);",
    "drop-constraint unique-constraint",
    { after: KEYS },
  ],
  [
    "ALTER TABLE likes DROP CONSTRAINT likes_key;",
    "",
    { after: [KEYS, "ALTER TABLE likes ADD CONSTRAINT twin UNIQUE (b, a);"] },
  ],
]);
