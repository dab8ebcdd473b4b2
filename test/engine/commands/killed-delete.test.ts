import assert from "node:assert/strict";
import test from "node:test";
import { converges, dies, type Target } from "./support/killed";
import { type Change, Whole } from "./support/whole";

/** In the order in which an update removes them: what the others need goes last. */
const REMOVED: Record<string, Target> = {
  api: "route/api",
  "node-a": "pool/node-a",
  tried: "pool/tried",
  web: "pool/web",
  plain: "backend/main/plain",
};

test("a provider that is killed right after the agent's commit of a delete, of every kind: the next update converges", async (t) => {
  const whole = await Whole.prepare(t);
  const { stack } = whole;
  await whole.declare({}, { inOrder: true });
  await whole.must(stack.up());
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
