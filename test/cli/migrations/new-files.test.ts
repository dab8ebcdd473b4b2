import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { sluice } from "../support/sluice";

/** A repository whose main branch has two migrations, and a branch that changes the second one and adds a third. */
async function repository(t: TestContext): Promise<{ at: string; git: (...args: string[]) => void }> {
  const at = await mkdtemp(path.join(tmpdir(), "sl-"));
  t.after(() => rm(at, { recursive: true, force: true }));
  const git = (...args: string[]) => {
    const settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"];
    execFileSync("git", [...settings, ...args], { cwd: at, stdio: "ignore" });
  };
  await mkdir(path.join(at, "m"));
  git("init", "-b", "main");
  await writeFile(path.join(at, "m/1_users.sql"), "CREATE TABLE users (id int, name varchar(9)); DROP TABLE old;");
  await writeFile(path.join(at, "m/2_x.sql"), "DROP TABLE x;");
  git("add", ".");
  git("commit", "-m", "first");
  git("checkout", "-b", "branch");
  await writeFile(path.join(at, "m/2_x.sql"), "DROP TABLE y;");
  git("commit", "-am", "second");
  await writeFile(path.join(at, "m/3_type.sql"), "ALTER TABLE users ALTER COLUMN name TYPE text; DROP TABLE z;");
  return { at, git };
}

const rulesOf = (stdout: string): string[] =>
  JSON.parse(stdout).files.flatMap(({ path: file, findings }: { path: string; findings: { rule: string }[] }) =>
    findings.map(({ rule }) => `${path.basename(file)} ${rule}`),
  );

test("--since judges what a branch adds or changes, and the rest makes the catalogue", async (t) => {
  const { at, git } = await repository(t);
  const since = async (revision: string, ...paths: string[]) => {
    const { stdout, stderr, code } = await sluice(["migrations", "check", "--json", "--since", revision, ...paths], {
      cwd: at,
    });
    return code === 2 ? stderr : rulesOf(stdout);
  };
  assert.deepEqual(await since("main", "m"), ["2_x.sql drop-table", "3_type.sql drop-table"]);
  assert.deepEqual(await since("HEAD", path.join(at, "m")), ["3_type.sql drop-table"]);
  // What main gains meanwhile is none of the branch's.
  git("stash", "-u");
  git("checkout", "main");
  await writeFile(path.join(at, "m/1_users.sql"), "CREATE TABLE users (id int, name varchar(9));");
  git("commit", "-am", "third");
  git("checkout", "branch");
  git("stash", "pop");
  assert.deepEqual(await since("main", "m"), ["2_x.sql drop-table", "3_type.sql drop-table"]);
  assert.match(String(await since("none", "m")), /^sluice: --since: git merge-base in .*none/);
});

test("--applied judges what comes after a version", async (t) => {
  const { at } = await repository(t);
  const applied = async (version: string) => {
    const { stdout, stderr, code } = await sluice(["migrations", "check", "--json", "--applied", version, "m"], {
      cwd: at,
    });
    return code === 2 ? stderr.trim() : rulesOf(stdout);
  };
  assert.deepEqual(await applied("1"), ["2_x.sql drop-table", "3_type.sql drop-table"]);
  assert.deepEqual(await applied("2_x"), ["3_type.sql drop-table"]);
  assert.deepEqual(await applied("3_type.sql"), []);
  assert.equal(await applied("9"), "sluice: --applied 9: no file, or more than one, has this version or name");
  await mkdir(path.join(at, "m/2024-01-01-000000_a"));
  await writeFile(path.join(at, "m/2024-01-01-000000_a/up.sql"), "DROP TABLE b;");
  assert.deepEqual(await applied("20240101000000"), []);
});

test("a first run is summed up, and tells how to see more", async (t) => {
  const { at } = await repository(t);
  const drops = Array.from({ length: 40 }, (_, number) => `DROP TABLE t${number};`).join("\n");
  await writeFile(path.join(at, "m/4_drops.sql"), drops);
  const { stdout } = await sluice(["migrations", "check", "m"], { cwd: at });
  assert.deepEqual(stdout.split("\n"), [
    "unsafe: 4 files, 43 errors, 0 warnings",
    "read as files of plain (no runner is known by their names); --runner tells another one",
    "sluice migrations explain RULE describes a rule",
    "",
    "errors by rule:",
    "    43  drop-table",
    "",
    "errors by file:",
    "    40  m/4_drops.sql",
    "     1  m/1_users.sql",
    "     1  m/2_x.sql",
    "     1  m/3_type.sql",
    "",
    "--details prints each finding; --since REVISION and --applied VERSION leave out files that are not new, and print the rest",
    "",
  ]);
  const all = await sluice(["migrations", "check", "--details", "m"], { cwd: at });
  assert.equal(all.stdout.match(/: error drop-table/g)?.length, 43);
  const some = await sluice(["migrations", "check", "--applied", "3", "m"], { cwd: at });
  assert.ok(some.stdout.includes("3 left out: it is applied already"));
  assert.equal(some.stdout.match(/: error drop-table/g)?.length, 40);
});

test("CI systems get the findings in forms of their own", async (t) => {
  const { at } = await repository(t);
  const format = async (name: string) =>
    (await sluice(["migrations", "check", "--format", name, "--applied", "2", "m"], { cwd: at })).stdout;
  const message = "Releases that still use z fail once it is gone.";
  assert.equal(
    await format("github"),
    `::error file=m/3_type.sql,line=1,col=48,title=drop-table::${message}\nunsafe: 3 files\n`,
  );
  const [run] = JSON.parse(await format("sarif")).runs;
  assert.deepEqual(
    run.tool.driver.rules.map(({ id }: { id: string }) => id),
    ["drop-table"],
  );
  assert.equal(run.results[0].level, "error");
  assert.ok(run.results[0].message.text.startsWith(message));
  assert.deepEqual(run.results[0].locations[0].physicalLocation, {
    artifactLocation: { uri: "m/3_type.sql" },
    region: { startLine: 1, startColumn: 48 },
  });
  assert.equal(
    await format("junit"),
    [
      '<?xml version="1.0" encoding="UTF-8"?>',
      '<testsuites><testsuite name="sluice migrations" tests="3" failures="1">',
      '<testcase classname="migrations" name="m/1_users.sql"><skipped message="it is applied already"/></testcase>',
      '<testcase classname="migrations" name="m/2_x.sql"><skipped message="it is applied already"/></testcase>',
      `<testcase classname="migrations" name="m/3_type.sql"><failure message="drop-table">1:48: error drop-table: ${message}</failure></testcase>`,
      "</testsuite></testsuites>",
      "",
    ].join("\n"),
  );
  assert.equal(JSON.parse(await format("json")).files.length, 3);
});

test("a contract migration passes with what must hold, but may not block the application", async (t) => {
  const { at } = await repository(t);
  const check = async (...args: string[]) =>
    sluice(["migrations", "check", "--applied", "2", "m", ...args], { cwd: at });
  assert.equal((await check()).code, 1);
  const passed = await check("--contract", "3");
  assert.equal(passed.code, 0);
  assert.ok(
    passed.stdout.includes(
      "m/3_type.sql:1:48: warn drop-table (compatibility)\n  Releases that still use z fail once it is gone. As a contract migration it is safe only where no release that runs, or is kept for a rollback, relies on that.",
    ),
    passed.stdout,
  );
  await writeFile(path.join(at, "m/4_index.sql"), "CREATE INDEX i ON users (id);");
  assert.equal((await check("--contract", "3", "--contract", "4")).code, 1);
  const wrong = await check("--contract", "9");
  assert.equal(wrong.stderr.trim(), "sluice: --contract 9: no file, or more than one, has this version or name");
});
