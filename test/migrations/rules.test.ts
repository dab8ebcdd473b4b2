import assert from "node:assert/strict";
import test from "node:test";
import { RULES } from "../../src/migrations/rules";
import { judge } from "./support";

for (const { id, level, example } of RULES) {
  const { before, unsafe, safe, transaction = "per-file" } = example;
  const given = { transaction, ...(before !== "" && { after: before }) };
  test(`${id} finds its unsafe example, and nothing in its safe one`, async () => {
    const { findings } = await judge(unsafe, given);
    const own = findings.find(({ rule }) => rule === id);
    assert.equal(own?.level, level, JSON.stringify(findings));
    assert.ok(own?.message.endsWith("."), own?.message);
    assert.ok((own?.fix ?? "") !== "" && (own?.locks ?? "") !== "");
    const result = await judge(safe, given);
    assert.deepEqual(
      result.findings.filter((finding) => finding.rule === id || finding.level === "error"),
      [],
    );
  });
}

test("rules have names of their own", () => {
  assert.equal(new Set(RULES.map(({ id }) => id)).size, RULES.length);
  for (const { id } of RULES) assert.match(id, /^[a-z]+(?:-[a-z]+)*$/);
});
