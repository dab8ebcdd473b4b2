import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { checkMigrations } from "../../src/migrations/check";
import { RULES } from "../../src/migrations/rules";
import { errorsOf, judge } from "./support";

const RUNS = { numRuns: 150 };

/** Statements as words, with `"` around names that may be written with or without quotes; safe and unsafe ones. */
const STATEMENTS: readonly (readonly string[])[] = [
  ["ALTER", "TABLE", '"users"', "DROP", "COLUMN", '"nick"', ";"],
  ["ALTER", "TABLE", '"users"', "ADD", "COLUMN", '"nick"', "text", "NOT", "NULL", ";"],
  ["ALTER", "TABLE", '"users"', "ADD", "COLUMN", '"nick"', "text", "NOT", "NULL", "DEFAULT", "'x'", ";"],
  ["ALTER", "TABLE", '"users"', "ADD", "COLUMN", '"nick"', "uuid", "DEFAULT", "gen_random_uuid", "(", ")", ";"],
  ["CREATE", "TABLE", '"t"', "(", '"a"', "int", ")", ";", "DROP", "TABLE", '"t"', ";"],
  ["CREATE", "TABLE", "IF", "NOT", "EXISTS", '"t"', "(", '"a"', "int", ")", ";", "DROP", "TABLE", '"t"', ";"],
  ["CREATE", "INDEX", '"i"', "ON", '"users"', "(", '"nick"', ")", ";"],
  ["UPDATE", '"users"', "SET", '"nick"', "=", "'a'", "WHERE", '"id"', "BETWEEN", "1", "AND", "100", ";"],
  ["DELETE", "FROM", '"users"', "WHERE", "1", "=", "1", ";"],
  [
    "ALTER",
    "TYPE",
    '"mood"',
    "ADD",
    "VALUE",
    "'calm'",
    ";",
    "INSERT",
    "INTO",
    '"t"',
    "VALUES",
    "(",
    "'calm'",
    ")",
    ";",
  ],
  ["ALTER", "TABLE", '"t"', "ADD", "CONSTRAINT", '"c"', "CHECK", "(", '"a"', ">", "0", ")", "NOT", "VALID", ";"],
  ["DO", "$$ BEGIN DROP TABLE users; END $$", ";"],
  ["DROP", "VIEW", "IF", "EXISTS", '"v"', "CASCADE", ";"],
  ["SELECT", "setval", "(", "'s'", ",", "1", ")", ";"],
];

const gap = fc.constantFrom(
  " ",
  "\n",
  "\t\r\n ",
  "/* DROP TABLE x; */",
  " -- ' \" $$ ; DROP\n",
  "/* a /* b */ ; */",
  "/* sluice-ignore */ ",
  "\n-- noqa: disable=all\n",
);

/** The same statement in another dress: other white space, comments, letter case and quotes. */
function dressed(words: readonly string[]): fc.Arbitrary<string> {
  const parts = words.map((word) => {
    if (word.startsWith("'") || word.startsWith("$")) return fc.constant(word);
    const name = /^"(.*)"$/.exec(word)?.[1];
    if (name !== undefined) return fc.constantFrom(word, name, name.toUpperCase());
    return fc.constantFrom(word, word.toLowerCase(), word.toUpperCase());
  });
  return fc
    .tuple(fc.tuple(...parts), fc.array(gap, { minLength: words.length + 1, maxLength: words.length + 1 }))
    .map(([texts, gaps]) => texts.map((text, index) => `${gaps[index]} ${text}`).join("") + gaps.at(-1));
}

test("comments, white space, case and quotes never change a verdict", async () => {
  const plain = new Map<string, string[]>();
  for (const words of STATEMENTS) plain.set(words.join(" "), errorsOf(await judge(words.join(" "))));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...STATEMENTS).chain((words) => dressed(words).map((text) => ({ key: words.join(" "), text }))),
      async ({ key, text }) => assert.deepEqual(errorsOf(await judge(text)), plain.get(key), text),
    ),
    RUNS,
  );
});

test("safe files, one after another in transactions of their own, stay safe", async () => {
  const safe: ((n: number) => string)[] = [
    (n) => `ALTER TABLE users ADD COLUMN c${n} text;`,
    (n) => `CREATE TABLE t${n} (a int PRIMARY KEY); DROP TABLE t${n};`,
    (n) => `ALTER TABLE users ADD CONSTRAINT k${n} CHECK (age > ${n}) NOT VALID;`,
    (n) => `UPDATE users SET nick = name WHERE id BETWEEN 1 AND ${n};`,
    () => "ALTER TABLE users VALIDATE CONSTRAINT old;",
    (n) => `CREATE TYPE m${n} AS ENUM ('a'); ALTER TABLE users ADD COLUMN m${n} m${n};`,
    (n) =>
      `SET search_path = s${n}; CREATE TABLE x (a int, b int); ALTER TABLE x DROP COLUMN a; DROP TABLE x; RESET search_path;`,
    (n) => `DO $$ BEGIN EXECUTE 'CREATE TABLE e${n} (a int)'; END $$;`,
  ];
  const parts = fc.array(fc.nat(safe.length - 1), { minLength: 2, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(parts, async (chosen) => {
      const files = chosen.map((which, index) => safe[which]?.(index) ?? "");
      for (const file of files) assert.deepEqual(errorsOf(await judge(file)), [], file);
      const together = files.map((file) => `BEGIN; ${file} COMMIT;`).join("\n");
      assert.deepEqual(errorsOf(await judge(together, { transaction: "none" })), [], together);
    }),
    RUNS,
  );
});

const SEEDS = [
  ...RULES.flatMap(({ example }) => [example.unsafe, example.safe, example.before]),
  ...STATEMENTS.map((words) => words.join(" ")),
  "-- +goose Up\nSELECT 1;\n-- +goose Down\nDROP TABLE x;",
  "-- migrate:up transaction:false\nVACUUM x;",
  "COPY t FROM STDIN;\n1\n\\.\n",
  "DO $$ DECLARE r record; BEGIN FOR r IN EXECUTE 'SELECT ' || x LOOP NULL; END LOOP; EXCEPTION WHEN others THEN NULL; END $$;",
];

/** A text with pieces cut out, doubled, swapped for others or for noise. */
const mutated = fc
  .tuple(
    fc.array(fc.constantFrom(...SEEDS), { minLength: 1, maxLength: 3 }),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.nat(12),
        fc.oneof(
          fc.string({ maxLength: 6, unit: "binary" }),
          fc.constantFrom(
            "'",
            '"',
            "$$",
            ";",
            "(",
            ")",
            "/*",
            "--",
            "\\",
            "\0",
            "\ud800",
            "é",
            "::",
            "*",
            "CASCADE",
            "IF EXISTS",
            "$1",
          ),
        ),
      ),
      { maxLength: 6 },
    ),
  )
  .map(([seeds, edits]) =>
    edits.reduce((text, [at, length, piece]) => {
      const from = text.length === 0 ? 0 : at % text.length;
      return text.slice(0, from) + piece + text.slice(from + length);
    }, seeds.join("\n")),
  );

test("no text makes the checker throw, and what it can't read is never safe", async () => {
  await fc.assert(
    fc.asyncProperty(mutated, fc.constantFrom("per-file", "none"), async (sql, transaction) => {
      const { files, verdict } = await checkMigrations([{ path: "x.sql", sql }], {
        transaction: transaction as "none",
      });
      assert.equal(files.length, 1);
      const errors = files[0]?.findings.filter(({ level }) => level === "error") ?? [];
      assert.equal(verdict, errors.length > 0 ? "unsafe" : "safe");
      for (const { line, column } of errors) assert.ok(line >= 1 && column >= 1);
    }),
    { numRuns: 1500 },
  );
});

test("texts that nest too deeply are not safe, and the next one is judged as ever", async () => {
  const deep = [
    `SELECT ${"(".repeat(50_000)}1${")".repeat(50_000)};`,
    `SELECT ${"1+".repeat(100_000)}1;`,
    `SELECT ${"NOT ".repeat(50_000)}true;`,
    `SELECT 1 ${"UNION SELECT 1 ".repeat(20_000)};`,
    `DO $$ ${"BEGIN ".repeat(5_000)}${"END;".repeat(5_000)} $$;`,
  ];
  for (const sql of deep) {
    assert.equal((await judge(sql)).verdict, "unsafe", sql.slice(0, 40));
    assert.deepEqual(errorsOf(await judge("DROP TABLE users;")), ["drop-table"]);
    assert.deepEqual(errorsOf(await judge("CREATE TABLE t (a int);")), []);
  }
});
