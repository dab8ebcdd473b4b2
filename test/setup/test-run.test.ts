import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { findTestFiles } from "../../tools/tests/files.mjs";
import { exitCode, summaryLines, TestCounter } from "../../tools/tests/summary.mjs";
import { fakeMachine } from "./doubles";

/** Runs the code as a test file the way `npm test` does. */
function runTests(t: TestContext, code: string) {
  const { folder } = fakeMachine(t);
  const file = path.join(folder, "some.test.mjs");
  writeFileSync(file, `import test, { describe } from "node:test";\n${code}`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const ran = spawnSync(process.execPath, ["tools/tests/main.mjs", file], { env, encoding: "utf8" });
  return { status: ran.status, lines: ran.stdout.replaceAll(file, "FILE").trimEnd().split("\n") };
}

test("leaf tests are counted, skipped ones are listed with their reason, and the totals come last", (t) => {
  const { status, lines } = runTests(
    t,
    `test("parent", async (t) => {
       await t.test("one", () => {});
       await t.test("two", { skip: "needs root" }, () => {});
     });
     describe("suite", () => { test("three", () => {}); test.todo("four"); });
     describe("all of it", { skip: "needs docker" }, () => { test("five", () => {}); });`,
  );
  assert.equal(status, 0);
  assert.deepEqual(lines.slice(-4), [
    "skipped: FILE > parent > two (needs root)",
    "skipped: FILE > suite > four (todo)",
    "skipped: FILE > all of it (needs docker)",
    "2 passed, 0 failed, 3 skipped",
  ]);
});

test("a failed test counts once, a parent only for its own failure, and the exit code is 1", (t) => {
  const { status, lines } = runTests(
    t,
    `describe("suite", () => { test("bad", () => { throw new Error("x"); }); });
     test("parent", async (t) => { await t.test("child", () => {}); throw new Error("own"); });`,
  );
  assert.equal(status, 1);
  assert.deepEqual(lines.slice(-3), [
    "failed: FILE > suite > bad",
    "failed: FILE > parent",
    "1 passed, 2 failed, 0 skipped",
  ]);
});

test("a file that cannot be loaded is a failure, and so is a run in which nothing ran", (t) => {
  const broken = runTests(t, `throw new Error("broken");`);
  assert.equal(broken.status, 1);
  assert.equal(broken.lines.at(-1), "0 passed, 1 failed, 0 skipped");
  const empty = runTests(t, "");
  assert.equal(empty.status, 1);
  assert.equal(empty.lines.at(-1), "0 passed, 0 failed, 0 skipped");
  assert.equal(exitCode({ passed: 0, failed: [], skipped: [{ name: "a", reason: "b" }] }), 1);
});

test("a file whose time is up fails with the names of the tests that had not ended", () => {
  const file = "/checkout/test/a.test.ts";
  const counter = new TestCounter([file]);
  counter.began({ name: file, nesting: 0, file });
  counter.began({ name: "suite", nesting: 0, file });
  counter.began({ name: "quick", nesting: 1, file });
  counter.passed({ name: "quick", nesting: 1, file });
  counter.began({ name: "hangs", nesting: 1, file });
  const error = Object.assign(new Error("timed out"), { failureType: "testTimeoutFailure" });
  counter.failed({ name: file, nesting: 0, file, details: { error } });
  assert.deepEqual(summaryLines(counter.summary, "/checkout"), [
    "failed: test/a.test.ts",
    "  had not ended: suite",
    "  had not ended: suite > hangs",
    "1 passed, 1 failed, 0 skipped",
  ]);
});

test("test files are found by parts of their path", (t) => {
  const { folder } = fakeMachine(t);
  for (const file of ["test/agent/a.test.ts", "test/agent/helper.ts", "test/model/b.test.ts"]) {
    mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(folder, file), "");
  }
  assert.deepEqual(findTestFiles(folder, []), ["test/agent/a.test.ts", "test/model/b.test.ts"]);
  assert.deepEqual(findTestFiles(folder, ["agent"]), ["test/agent/a.test.ts"]);
  assert.deepEqual(findTestFiles(folder, ["helper"]), []);
});
