import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { allProcesses, read } from "../../../tools/processes.mjs";
import { sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import { commitOf, DECLARATION, keepBack } from "./support/kept-back";
import { type Change, KINDS, Whole } from "./support/whole";

/** What each kind's change is a transaction on, in the order in which an update comes to them. */
const TARGETS = ["edge/main", "backend/main/plain", "pool/web", "pool/tried", "pool/node-a", "route/api"] as const;
type Target = (typeof TARGETS)[number];

const updates = (release: object): Record<Target | "agent", Record<string, Change>> => ({
  agent: { agent: { args: { evidence: { days: 30 } } } },
  "edge/main": { edge: { args: { maxConnections: 900 } } },
  "backend/main/plain": { plain: { args: { balance: "leastconn" } } },
  "pool/web": { web: { args: { release } } },
  "pool/tried": { tried: { args: { drainDeadline: "3 seconds" } } },
  "pool/node-a": { "node-a": { args: { release } } },
  "route/api": { api: { args: { stage: "stable" } } },
});
/** In the order in which an update removes them: what the others need goes last. */
const REMOVED: Record<string, Target> = {
  api: "route/api",
  "node-a": "pool/node-a",
  tried: "pool/tried",
  web: "pool/web",
  plain: "backend/main/plain",
};

test("a provider that is killed right after the agent's commit: the next update converges, without a request lost", async (t) => {
  const whole = await Whole.prepare(t);
  const { stack } = whole;

  await t.test("of a create of every kind", async () => {
    await whole.declare({}, { inOrder: true });
    const agents = [whole.urn(KINDS["an agent"]), whole.urn(KINDS["an agent"], "nodes-agent")];
    await whole.must(stack.up(...agents.flatMap((urn) => ["--target", urn])));
    for (const target of TARGETS) await dies(whole, target);
    await converges(whole);
  });

  await t.test("of an update of every kind", async (t) => {
    const load = sendRequests(whole.ports, { atOnce: 3, pauseMs: 15, keepAlive: false });
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

/** A command whose provider is killed once the target's change is committed. */
async function dies(whole: Whole, target: Target | "agent", command: "up" | "destroy" = "up"): Promise<void> {
  const { stack } = whole;
  const host = target === "pool/node-a" ? whole.hosts.nodes : whole.hosts.agent;
  const kept = await keepBack(path.join(host, "a.sock"), target === "agent" ? DECLARATION : commitOf(target));
  try {
    const up = stack.start(command);
    await Promise.race([
      kept.done,
      up.finished.then(({ stdout }) => assert.fail(`it ended before ${target} was committed:\n${stdout}`)),
    ]);
    const providers = descendants(up.pid).filter(isProvider);
    assert.notEqual(providers.length, 0);
    for (const pid of providers) process.kill(pid, "SIGKILL");
    const { exit, stdout } = await up.finished;
    assert.notEqual(exit, 0, stdout);
  } finally {
    await kept.end();
  }
  if (command === "destroy") return;
  // Edges lead traffic past a node for a while: until then a change of theirs is refused, and told to wait.
  await until("what it held to be free", async () => {
    const all = await Promise.all(Object.values(whole.clients).map((client) => client.status()));
    return all.every(({ transactions }) => transactions.length === 0);
  });
}

/** The next update succeeds, the one after that has nothing to do, and nothing is pending. */
async function converges(whole: Whole): Promise<void> {
  const { stack } = whole;
  const reality = await whole.reality();
  await whole.must(stack.up());
  assert.deepEqual((await whole.reality()).pids, reality.pids);
  assert.deepEqual((await stack.state()).pendingOperations, []);
  await whole.must(stack.up("--expect-no-changes"));
}

function descendants(of: number, all = allProcesses()): number[] {
  return all.filter(({ parent }) => parent === of).flatMap(({ pid }) => [pid, ...descendants(pid, all)]);
}

function isProvider(pid: number): boolean {
  return read(`/proc/${pid}/cmdline`).includes("pulumi-resource-sluice");
}
