import assert from "node:assert/strict";
import test from "node:test";
import { sendRequests } from "../../support/requests";
import { converges, dies, TARGETS, type Target } from "./support/killed";
import { type Change, Whole } from "./support/whole";

const updates = (release: object): Record<Target | "agent", Record<string, Change>> => ({
  agent: { agent: { args: { evidence: { days: 30 } } } },
  "edge/main": { edge: { args: { maxConnections: 900 } } },
  "backend/main/plain": { plain: { args: { balance: "leastconn" } } },
  "pool/web": { web: { args: { release } } },
  "pool/tried": { tried: { args: { drainDeadline: "3 seconds" } } },
  "pool/node-a": { "node-a": { args: { release } } },
  "route/api": { api: { args: { stage: "stable" } } },
});

test("a provider that is killed right after the agent's commit of an update, of every kind: the next update converges, without a request lost", async (t) => {
  const whole = await Whole.prepare(t);
  await whole.declare({}, { inOrder: true });
  await whole.must(whole.stack.up());
  const load = sendRequests(t, whole.ports, { atOnce: 3, pauseMs: 15 });
  t.after(() => load.stop());
  const changes: Record<string, Change> = {};
  for (const target of ["agent", ...TARGETS] as const) {
    Object.assign(changes, updates(whole.release("v2"))[target]);
    await whole.declare(changes, { inOrder: true });
    await dies(whole, target);
  }
  await converges(whole);
  assert.deepEqual((await load.stop()).failures, []);
});
