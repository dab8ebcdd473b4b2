import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { rulePages } from "../../../src/cli/migrations/page";
import { sluice } from "../support/sluice";

const FOLDER = path.resolve(__dirname, "../../../docs/migrations");

test("the rules' pages are those that npm run docs makes", () => {
  const pages = rulePages();
  assert.deepEqual(readdirSync(FOLDER).sort(), [...pages.keys()].sort(), "run npm run docs");
  for (const [name, text] of pages)
    assert.equal(readFileSync(path.join(FOLDER, name), "utf8"), text, "run npm run docs");
});

test("explain prints a rule's page", async () => {
  const { stdout } = await sluice(["migrations", "explain", "blocking-key"]);
  assert.ok(rulePages().get("blocking-key.md")?.endsWith(`\n\n${stdout}`), stdout);
});
