import assert from "node:assert/strict";
import test from "node:test";
import { RULES } from "../../src/migrations/rules";
import { startPostgres } from "../support/postgres";
import { harmOf } from "./proof/proof";

test("a real PostgreSQL shows of each rule that its unsafe example is unsafe, and its safe one is not", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  await postgres.query("CREATE ROLE app");
  for (const { id, example } of RULES)
    await t.test(id, async () => {
      const harm = await harmOf(postgres, example, example.unsafe);
      assert.ok(harm !== undefined, `nothing happens by ${example.unsafe}`);
      assert.equal(await harmOf(postgres, example, example.safe), undefined, example.safe);
    });
});
