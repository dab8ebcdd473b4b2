import assert from "node:assert/strict";
import test from "node:test";
import { converges, dies, TARGETS, type Target } from "./support/killed";
import { type Change, KINDS, Whole } from "./support/whole";

/** In the order in which an update removes them: what the others need goes last. */
const REMOVED: Record<string, Target> = {
  api: "route/api",
  "node-a": "pool/node-a",
  tried: "pool/tried",
  web: "pool/web",
  plain: "backend/main/plain",
};

test("a provider that is killed right after the agent's commit: the next update converges", async (t) => {
  const whole = await Whole.prepare(t);
  const { stack } = whole;

  await t.test("of a create of every kind", async () => {
    await whole.declare({}, { inOrder: true });
    const agents = [whole.urn(KINDS["an agent"]), whole.urn(KINDS["an agent"], "nodes-agent")];
    await whole.must(stack.up(...agents.flatMap((urn) => ["--target", urn])));
    for (const target of TARGETS) await dies(whole, target);
    await converges(whole);
  });

  await t.test("of a delete of every kind", async () => {
    const changes: Record<string, Change> = {};
    for (const [key, target] of Object.entries(REMOVED)) {
      changes[key] = { absent: true };
      await whole.declare(changes, { inOrder: true });
      await dies(whole, target);
    }
    await converges(whole);
    for (const target of ["edge/main", "agent"] as const) await dies(whole, target, "destroy");
    const destroyed = await stack.destroy();
    assert.equal(destroyed.exit, 0, destroyed.stdout);
    assert.deepEqual((await stack.state()).resources, []);
  });
});
