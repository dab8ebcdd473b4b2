import assert from "node:assert/strict";
import path from "node:path";
import { allProcesses, read } from "../../../../tools/processes.mjs";
import { until } from "../../../support/until";
import { commitOf, DECLARATION, keepBack } from "./kept-back";
import type { Whole } from "./whole";

/** Target of each kind's transaction, in the order in which an update comes to them. */
export const TARGETS = [
  "edge/main",
  "backend/main/plain",
  "pool/web",
  "pool/tried",
  "pool/node-a",
  "route/api",
] as const;
export type Target = (typeof TARGETS)[number];

/** A command whose provider is killed once the target's change is committed. */
export async function dies(whole: Whole, target: Target | "agent", command: "up" | "destroy" = "up"): Promise<void> {
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
export async function converges(whole: Whole): Promise<void> {
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
