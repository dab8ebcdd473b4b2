import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { createProgram } from "../../../src/cli/program";
import { reference } from "../../../src/cli/reference/reference";

const { stdin, stdout, stderr, env } = process;
const program = createProgram("0", { stdin, stdout, stderr, env }, () => undefined);

test("the reference of the command is what its verbs and schemas say", () => {
  const written = readFileSync("docs/cli.md", "utf8");
  assert.equal(
    written,
    reference(program),
    "write it again: node --import tsx src/cli/reference/main.ts > docs/cli.md",
  );
});

test("every verb with --json has a schema there, and exit codes are told by the command itself", () => {
  const written = readFileSync("docs/cli.md", "utf8");
  const sections = written.split("\n## ").slice(1);
  for (const section of sections)
    if (
      section.includes("`--json`") &&
      /--socket/.test(section) &&
      !/^sluice (?:agent stop|migrations|parity)/.test(section)
    )
      assert.match(section, /With `--json`:/, section.split("\n")[0]);
  assert.ok(sections.length >= 12);
});
