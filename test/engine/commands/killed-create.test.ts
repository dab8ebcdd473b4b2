import test from "node:test";
import { converges, dies, TARGETS } from "./support/killed";
import { KINDS, Whole } from "./support/whole";

test("a provider that is killed right after the agent's commit of a create, of every kind: the next update converges", async (t) => {
  const whole = await Whole.prepare(t);
  await whole.declare({}, { inOrder: true });
  const agents = [whole.urn(KINDS["an agent"]), whole.urn(KINDS["an agent"], "nodes-agent")];
  await whole.must(whole.stack.up(...agents.flatMap((urn) => ["--target", urn])));
  for (const target of TARGETS) await dies(whole, target);
  await converges(whole);
});
