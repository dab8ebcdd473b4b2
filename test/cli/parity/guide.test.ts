import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { progressText } from "../../../src/cli/parity/progress";
import { ERROR_KINDS } from "../../../src/parity/compare/answer";
import { sluice } from "../support/sluice";

test("the guide of parity names every option and every kind of error", async () => {
  const guide = readFileSync("docs/parity.md", "utf8");
  const { stdout } = await sluice(["parity", "--help"]);
  const options = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, option = ""]) => option);
  assert.ok(options.length > 15);
  for (const option of options) if (option !== "--help") assert.ok(guide.includes(option), option);
  for (const kind of ERROR_KINDS) assert.ok(guide.includes(`| \`${kind}\` |`), kind);
});

test("progress shows how much is done, how fast, and what is left", () => {
  const status = { requests: 12_345, problems: 2 };
  assert.equal(progressText(status, 10_000, true), "12,345 requests  1,235/s  2 not equal");
  assert.equal(
    progressText({ ...status, done: 0.25 }, 10_000, true),
    "[######------------------] 25%  12,345 requests  1,235/s  2 not equal  30 s left",
  );
  assert.equal(progressText({ ...status, done: 1 }, 10_000, false), "100%  12,345 requests  1,235/s  2 not equal");
  assert.equal(progressText({ requests: 0, problems: 0, done: 0 }, 0, false), "0%  0 requests  0/s  0 not equal");
});
