import assert from "node:assert/strict";
import test from "node:test";
import { bypassOf, readBypasses } from "../../../src/model/policy/migration-bypass";
import {
  appliedIn,
  changedFiles,
  findMigration,
  means,
  migrationsSpec,
  takenFrom,
} from "../../../src/model/policy/migration-set";

test("a migration is meant by its file's name, without the ending, and by its version", () => {
  const cases: [given: string, id: string, expected: boolean][] = [
    ["0003_add_email.sql", "0003_add_email.sql", true],
    ["0003_add_email", "0003_add_email.sql", true],
    ["0003", "0003_add_email.sql", true],
    ["3", "0003_add_email.sql", true],
    ["3_add_email", "0003_add_email.sql", false],
    ["0003", "0030_add_email.sql", false],
    ["000003", "000003_add.up.sql", true],
    ["000003_add", "000003_add.up.sql", true],
    ["1.10", "V1.10__x.sql", true],
    ["V1.10", "V1.10__x.sql", true],
    ["1.1", "V1.10__x.sql", false],
    ["20260615120000", "20260615120000_users.sql", true],
    ["users", "0001_users.sql", false],
  ];
  for (const [given, id, expected] of cases) assert.equal(means(given, id), expected, `${given} ${id}`);
  assert.equal(findMigration(["0001_a.sql", "0001_b.sql"], "0001"), undefined);
  assert.equal(findMigration(["0001_a.sql", "0001_b.sql"], "0001_b"), "0001_b.sql");
});

test("a status command's lines are read by their first word, whatever stands around them", () => {
  const ids = ["0001_a.sql", "0002_b.sql", "0003_c.sql"];
  assert.deepEqual(appliedIn("0001\n 0003_c.sql|t\nversion\n\n", ids), ["0001_a.sql", "0003_c.sql"]);
  assert.deepEqual(appliedIn("2", ids, "newest"), ["0001_a.sql", "0002_b.sql"]);
  assert.deepEqual(appliedIn("", ids, "newest"), []);
});

test("a file that was changed after it was applied is told from one that is new or pending", () => {
  const file = (id: string, hash: string, state: "applied" | "pending") => ({
    id,
    hash,
    phase: "expand" as const,
    state,
  });
  const recorded = ["1", "2", "3"].map((id) => ({ id, hash: `${id} as it was` }));
  const now = [
    file("1", "1 as it was", "applied"),
    file("2", "changed", "applied"),
    file("3", "changed", "pending"),
    file("4", "new", "pending"),
  ];
  assert.deepEqual(changedFiles(recorded, now), ["2"]);
});

test("a release needs all that contract migrations take away, but for those that it tolerates", () => {
  const migrations = [
    { id: "0001_a.sql", phase: "expand" as const },
    { id: "0002_b.sql", phase: "contract" as const },
    { id: "0003_c.sql", phase: "contract" as const },
  ];
  assert.deepEqual(takenFrom(undefined, migrations), ["0002_b.sql", "0003_c.sql"]);
  assert.deepEqual(takenFrom({ toleratesMigration: "0002" }, migrations), ["0003_c.sql"]);
  assert.deepEqual(takenFrom({ toleratesMigration: "0003_c.sql" }, migrations), []);
  // One that is not there tolerates nothing.
  assert.deepEqual(takenFrom({ toleratesMigration: "0009" }, migrations), ["0002_b.sql", "0003_c.sql"]);
});

test("what is applied must be asked or given", () => {
  const problemsOf = (changes: object) =>
    migrationsSpec
      .safeParse({ folder: "/srv/db", apply: { command: ["x"] }, ...changes })
      .error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  assert.equal(problemsOf({ applied: [] }), undefined);
  assert.equal(problemsOf({ status: { command: ["x"] } }), undefined);
  assert.deepEqual(problemsOf({}), [
    "status: is missing: give a command that prints the applied migrations, or applied: [] for an empty database",
  ]);
});

test("a bypass names a file by its hash and a rule; an expired or malformed one does not count", () => {
  const now = new Date("2026-06-15T12:00:00Z");
  const good = { file: "0123456789ab", rule: "drop-column", reason: "empty table", who: "ana", until: "2026-06-15" };
  const read = (value: unknown) => readBypasses(JSON.stringify(value), now);
  assert.deepEqual(read([good]), { valid: [good], problems: [] });
  assert.deepEqual(read([{ ...good, until: "2026-06-14" }]).problems, [
    "drop-column in 0123456789ab has expired (until 2026-06-14): remove it",
  ]);
  assert.deepEqual(read([{ ...good, file: "0001_a.sql" }]).problems, [
    "[0.file] is not a file's hash: take it from sha256sum, 12 digits at least",
  ]);
  assert.equal(read([{ file: good.file, rule: good.rule }]).problems.length, 3);
  assert.equal(readBypasses("no JSON", now).problems.length, 1);
  assert.deepEqual(readBypasses(undefined, now), { valid: [], problems: [] });
  const files = [{ id: "0001_a.sql", hash: `0123456789ab${"0".repeat(52)}` }];
  assert.equal(bypassOf({ file: "0001_a.sql", rule: "drop-column" }, files, [good]), good);
  assert.equal(bypassOf({ file: "0001_a.sql", rule: "drop-table" }, files, [good]), undefined);
  assert.equal(
    bypassOf({ file: "0001_a.sql", rule: "drop-column" }, [{ id: "0001_a.sql", hash: "ff" }], [good]),
    undefined,
  );
});
