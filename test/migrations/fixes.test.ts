import assert from "node:assert/strict";
import test from "node:test";
import { startPostgres } from "../support/postgres";
import { inDatabase, migrate, say } from "./proof/sessions";
import { judge } from "./support";

interface Fix {
  rule: string;
  before: string;
  unsafe: string;
  /** Values that the author of the migration fills in. */
  filled?: Record<string, string>;
  /** Statement that the running release repeats; `$n` is another number each time. */
  release: string;
  /** Query of the final state, and the statements that must be refused then. */
  see: string;
  is: unknown[];
  refused?: string;
  /** Its last part takes something away, as the migration itself does. */
  contracts?: true;
}

const ROWS = "CREATE TABLE t (id bigserial PRIMARY KEY, name text); INSERT INTO t (name) VALUES ('a'), ('b');";
const WRITES = "INSERT INTO t (name) VALUES ('r$n')";
const REQUIRED = "SELECT is_nullable AS n FROM information_schema.columns WHERE table_name = 't' AND column_name = 'c'";

const FIXES: Fix[] = [
  {
    rule: "volatile-default",
    before: ROWS,
    unsafe: "ALTER TABLE t ADD COLUMN c uuid NOT NULL DEFAULT gen_random_uuid();",
    release: WRITES,
    see: `SELECT count(*) FILTER (WHERE c IS NULL) AS empty, count(DISTINCT c) = count(*) AS differ, (${REQUIRED}) FROM t`,
    is: [{ empty: "0", differ: true, n: "NO" }],
  },
  {
    rule: "generated-column",
    before: ROWS,
    unsafe: "ALTER TABLE t ADD COLUMN c bigserial;",
    release: WRITES,
    see: `SELECT count(*) FILTER (WHERE c IS NULL) AS empty, count(DISTINCT c) = count(*) AS differ, (${REQUIRED}) FROM t`,
    is: [{ empty: "0", differ: true, n: "NO" }],
  },
  {
    rule: "set-not-null",
    before: ROWS,
    unsafe: "ALTER TABLE t ALTER COLUMN name SET NOT NULL;",
    release: WRITES,
    see: REQUIRED.replace("'c'", "'name'"),
    is: [{ n: "NO" }],
    refused: "INSERT INTO t (name) VALUES (NULL)",
  },
  {
    rule: "constraint-scan",
    before: ROWS,
    unsafe: "ALTER TABLE t ADD CHECK (name <> '');",
    release: WRITES,
    see: "SELECT convalidated AS n FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c'",
    is: [{ n: true }],
    refused: "INSERT INTO t (name) VALUES ('')",
  },
  {
    rule: "constraint-scan",
    before: ROWS,
    unsafe: "ALTER TABLE t ADD COLUMN c integer NOT NULL DEFAULT 5 CHECK (c > 0);",
    release: WRITES,
    see: `SELECT min(c) AS c, (SELECT convalidated FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c') AS valid, (${REQUIRED}) FROM t`,
    is: [{ c: 5, valid: true, n: "NO" }],
    refused: "INSERT INTO t (c) VALUES (-1)",
  },
  {
    rule: "constraint-scan",
    before: `${ROWS} CREATE TABLE u (id integer PRIMARY KEY); INSERT INTO u VALUES (1);`,
    unsafe: "ALTER TABLE t ADD COLUMN c integer DEFAULT 1 REFERENCES u (id) ON DELETE CASCADE;",
    release: WRITES,
    see: "SELECT convalidated AS valid, confdeltype AS deletes, (SELECT min(c) FROM t) AS c FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f'",
    is: [{ valid: true, deletes: "c", c: 1 }],
    refused: "INSERT INTO t (c) VALUES (2)",
  },
  {
    rule: "unique-constraint",
    before: ROWS,
    unsafe: "ALTER TABLE t ADD COLUMN c text UNIQUE;",
    release: WRITES,
    see: "SELECT conname AS name FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'u'",
    is: [{ name: "t_c_key" }],
    refused: "INSERT INTO t (c) VALUES ('x'), ('x')",
  },
  {
    rule: "unique-constraint",
    before: "CREATE TABLE t (id bigint NOT NULL, name text); INSERT INTO t VALUES (1, 'a'), (2, 'b');",
    unsafe: "ALTER TABLE t ADD PRIMARY KEY (id);",
    release: "INSERT INTO t VALUES (100 + $n, 'x')",
    see: "SELECT conname AS name FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'",
    is: [{ name: "t_pkey" }],
    refused: "INSERT INTO t VALUES (1, 'x')",
  },
  {
    rule: "constraint-scan",
    before: `${ROWS} CREATE TABLE u (id integer PRIMARY KEY); INSERT INTO u VALUES (0);`,
    unsafe: "ALTER TABLE t ADD COLUMN c integer REFERENCES u DEFERRABLE INITIALLY DEFERRED DEFAULT 0 NOT NULL;",
    release: WRITES,
    see: `SELECT convalidated AS valid, condeferred AS late, (SELECT min(c) FROM t) AS c, (${REQUIRED}) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f'`,
    is: [{ valid: true, late: true, c: 0, n: "NO" }],
    refused: "INSERT INTO t (c) VALUES (2)",
  },
  {
    rule: "constraint-scan",
    before: `${ROWS} CREATE TABLE u (a bigint, "B" text, UNIQUE (a, "B")); INSERT INTO u VALUES (1, 'a'), (2, 'b');`,
    unsafe:
      'ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (id, name) REFERENCES u (a, "B") MATCH FULL ON UPDATE SET NULL ON DELETE CASCADE;',
    release: "SELECT id, name FROM t",
    see: "SELECT confmatchtype AS m, confupdtype AS u, confdeltype AS d, convalidated AS valid FROM pg_constraint WHERE conname = 'k'",
    is: [{ m: "f", u: "n", d: "c", valid: true }],
    refused: "INSERT INTO t (name) VALUES ('zz')",
  },
  {
    rule: "unique-constraint",
    before: "CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, at date NOT NULL); INSERT INTO t VALUES (1, 'today');",
    unsafe: "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD CONSTRAINT t_pkey PRIMARY KEY (id, at);",
    release: "INSERT INTO t VALUES (100 + $n, 'today')",
    see: "SELECT conname AS name, array_length(conkey, 1) AS n, (SELECT count(*)::int FROM pg_index WHERE indrelid = 't'::regclass) AS indexes FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'",
    is: [{ name: "t_pkey", n: 2, indexes: 1 }],
    contracts: true,
  },
  {
    rule: "create-index",
    before: ROWS,
    unsafe: "CREATE UNIQUE INDEX t_name ON t (lower(name)) WHERE id > 0;",
    release: WRITES,
    see: "SELECT indisvalid AS valid, indisunique AS only FROM pg_index WHERE indexrelid = 't_name'::regclass",
    is: [{ valid: true, only: true }],
  },
  {
    rule: "drop-index",
    before: `${ROWS} CREATE INDEX t_name ON t (name);`,
    unsafe: "DROP INDEX IF EXISTS t_name;",
    release: WRITES,
    see: "SELECT to_regclass('t_name') AS n",
    is: [{ n: null }],
  },
  {
    rule: "reindex",
    before: `${ROWS} CREATE INDEX t_name ON t (name);`,
    unsafe: "REINDEX TABLE t;",
    release: WRITES,
    see: "SELECT count(*) AS n FROM pg_index WHERE indisvalid AND indrelid = 't'::regclass",
    is: [{ n: "2" }],
  },
  {
    rule: "rename-table",
    before: ROWS,
    unsafe: "ALTER TABLE t RENAME TO people;",
    filled: { "/* who had them on the table */": "PUBLIC" },
    release: WRITES,
    see: "SELECT count(*) >= 4 AS n FROM people",
    is: [{ n: true }],
  },
  {
    rule: "attach-partition",
    before:
      "CREATE TABLE t (id bigint, at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE p (id bigint, at date NOT NULL); INSERT INTO p VALUES (1, '2024-05-05');",
    unsafe: "ALTER TABLE t ATTACH PARTITION p FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');",
    filled: { "/* its bounds, and IS NOT NULL */": "at >= '2024-01-01' AND at < '2025-01-01'" },
    release: "INSERT INTO p VALUES ($n, '2024-06-06')",
    see: "SELECT count(*) >= 4 AS n FROM t",
    is: [{ n: true }],
  },
  {
    rule: "add-required-column",
    before: ROWS,
    unsafe: "ALTER TABLE t ADD COLUMN c text NOT NULL;",
    filled: { "/* constant */": "'x'", "/* value */": "name" },
    // The release that writes it: one that does not is gone by then.
    release: "SELECT id, name FROM t",
    see: `SELECT count(*) FILTER (WHERE c = name) AS n, (${REQUIRED}) AS required FROM t`,
    is: [{ n: "2", required: "NO" }],
  },
];

/** The migrations that a fix tells to write, each as its author would send it. */
function migrationsIn(
  fix: string,
  filled: Record<string, string>,
): { text: string; transaction: "per-file" | "none"; contracts: boolean }[] {
  const whole = Object.entries({
    ...filled,
    "/* key */ BETWEEN /* from */ AND /* to */": "id BETWEEN 1 AND 1000",
  }).reduce((text, [placeholder, value]) => text.replaceAll(placeholder, value), fix);
  const numbered = whole.split(/^-- \d+\. /m);
  const parts = numbered.length > 1 ? numbered.slice(1) : [whole];
  return parts.map((part) => {
    const [first = "", ...rest] = part.split("\n");
    const transaction = /without a transaction/i.test(first) ? "none" : "per-file";
    const isSql = numbered.length === 1 && !/:$/.test(first);
    const contracts = /in a contract migration/.test(first);
    return { text: isSql ? part : rest.join("\n"), transaction, contracts };
  });
}

test("the fix of a finding does the same on a real PostgreSQL, while the release that runs goes on", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  for (const { rule, before, unsafe, filled = {}, release, see, is, refused, contracts: takes = false } of FIXES)
    await t.test(`${rule}: ${unsafe}`, async () => {
      const { findings } = await judge(unsafe, { after: before });
      const found = findings.find((finding) => finding.rule === rule);
      assert.ok(found, JSON.stringify(findings));
      await inDatabase(postgres, { before, unsafe, safe: "", proof: { kind: "refused" } }, async (connect) => {
        const [migration, client] = [await connect(), await connect()];
        const done = [before];
        const goesOn = async (number: number) => {
          const answer = await say(client, release.replace("$n", String(number)));
          assert.ok(!("refused" in answer), `${release}: ${"refused" in answer && answer.message}`);
        };
        await goesOn(10);
        for (const [index, { text, transaction, contracts }] of migrationsIn(found.fix, filled).entries()) {
          const judged = await judge(text, { after: done, transaction });
          assert.deepEqual(
            judged.findings.filter(
              ({ level, contractable }) => level === "error" && !((contracts || takes) && contractable),
            ),
            [],
            text,
          );
          const outcome = await migrate(migration, text, {
            before,
            unsafe,
            safe: "",
            proof: { kind: "refused" },
            transaction,
          });
          assert.ok(!("refused" in outcome), `${text}: ${"refused" in outcome && outcome.message}`);
          done.push(text);
          await goesOn(11 + index);
        }
        assert.deepEqual((await client.query(see)).rows, is);
        if (refused !== undefined) assert.ok("refused" in (await say(client, refused)), refused);
      });
    });
});
