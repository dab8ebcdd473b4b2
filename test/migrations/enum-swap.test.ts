import assert from "node:assert/strict";
import test from "node:test";
import { startPostgres } from "../support/postgres";
import { type Given, judge, table } from "./support";

const BEFORE =
  "CREATE TYPE mood AS ENUM ('glad', 'sad', 'calm'); CREATE TABLE users (id bigint PRIMARY KEY, mood mood NOT NULL DEFAULT 'glad'); CREATE TABLE pets (id bigint PRIMARY KEY, mood mood);";
const VALUES = "'glad', 'sad'";
const retype = (to: string) =>
  `ALTER TABLE users ALTER COLUMN mood DROP DEFAULT; ALTER TABLE users ALTER COLUMN mood TYPE ${to} USING mood::text::${to}; ALTER TABLE pets ALTER COLUMN mood TYPE ${to} USING mood::text::${to}; ALTER TABLE users ALTER COLUMN mood SET DEFAULT 'glad';`;
const NEW_FIRST = (values = VALUES) =>
  `CREATE TYPE mood_new AS ENUM (${values}); ${retype("mood_new")} ALTER TYPE mood RENAME TO mood_old; ALTER TYPE mood_new RENAME TO mood; DROP TYPE mood_old;`;
const OLD_FIRST = (values = VALUES) =>
  `ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM (${values}); ${retype("mood")} DROP TYPE mood_old;`;
const given: Given = { after: BEFORE };

for (const [order, swap] of [
  ["the new type is made first", NEW_FIRST],
  ["the old type is renamed first", OLD_FIRST],
] as const)
  table(`one finding tells of a swap of enums: ${order}`, [
    [swap(), "enum-swap", given],
    [`BEGIN; ${swap()} COMMIT;`, "enum-swap", { ...given, path: "1_x/migration.sql" }],
    [swap(), "enum-swap", {}],
    [swap().replace(/DROP TYPE mood_old;/, ""), "enum-swap", given],
    [swap().replace(/mood_old/g, '"Mood_old"'), "enum-swap", given],
    [`${swap()} DROP TYPE mood;`, "change-column-type drop-object rename-object", given],
  ]);

table("what is no swap is judged by its parts", [
  [NEW_FIRST(), "change-column-type drop-object rename-object drop-default", { ...given, transaction: "none" }],
  ["CREATE TYPE mood_new AS ENUM ('a'); ALTER TYPE mood RENAME TO mood_old;", "rename-object", given],
  [
    "CREATE TYPE mood_new AS ENUM ('glad', 'sad', 'calm'); DROP TYPE mood CASCADE; ALTER TYPE mood_new RENAME TO mood;",
    "drop-object enum-swap",
    given,
  ],
  [NEW_FIRST().replace("DROP TYPE mood_old", "DROP TYPE mood_old CASCADE"), "drop-object enum-swap", given],
  ["DROP TYPE mood; ALTER TABLE users ALTER COLUMN mood TYPE text;", "drop-object change-column-type", given],
]);

const only = async (sql: string, more: Given = given) => {
  const { findings } = await judge(sql, more);
  const [found, ...others] = findings.filter(({ level }) => level === "error");
  assert.ok(found && others.length === 0, JSON.stringify(findings));
  return found;
};

test("it says which values go, what is written anew, and the safe way", async () => {
  const both = "and users, pets are written anew under a lock.";
  const gone = await only(NEW_FIRST());
  assert.equal(gone.line, 1);
  assert.equal(gone.question, "compatibility");
  assert.equal(
    gone.message,
    `Releases that write or compare with 'calm' of mood fail, as does this migration where a row has it, ${both}`,
  );
  const none = await only(OLD_FIRST(`${VALUES}, 'calm', 'wild'`));
  assert.equal(none.question, "locks");
  assert.equal(none.message, `Another enum takes the place of mood without taking a value away, ${both}`);
  assert.equal(none.fix, "ALTER TYPE mood ADD VALUE 'wild';");
  const unknown = await only(NEW_FIRST(), {});
  assert.ok(unknown.message.startsWith("Another enum takes the place of mood, whose values are not known"));
  const grown = await only(NEW_FIRST("'glad', 'sad', 'calm', 'wild'"), {
    after: [BEFORE, "ALTER TYPE mood ADD VALUE 'wild';"],
  });
  assert.equal(grown.fix, "Leave it out: the type has these values already.");
});

test("a swap fails where a row has a value that goes, writes tables anew, and its rewrite does neither", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const client = await postgres.client();
  const file = async () => (await client.query("SELECT pg_relation_filenode('users') AS f")).rows[0].f;
  await client.query(BEFORE);
  const before = await file();
  await client.query("BEGIN; INSERT INTO users VALUES (1, 'calm')");
  await assert.rejects(client.query(NEW_FIRST()), /invalid input value for enum mood_new: "calm"/);
  await client.query("ROLLBACK; BEGIN");
  await client.query(NEW_FIRST());
  assert.notEqual(await file(), before);
  await client.query("ROLLBACK; INSERT INTO users VALUES (1, 'calm')");
  const { fix } = await only(NEW_FIRST("'glad', 'sad', 'wild'"));
  await client.query(fix.split("-- 2.")[0] ?? "");
  await client.query(`-- 2.${fix.split("-- 2.")[1]}`);
  assert.equal(await file(), before);
  await client.query("INSERT INTO users VALUES (2, 'wild')");
  await assert.rejects(client.query("INSERT INTO users VALUES (3, 'calm')"), /users_mood_values/);
  await client.end();
});
