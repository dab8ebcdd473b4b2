import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import test from "node:test";
import { isDead, readStat } from "../../../src/agent/processes/identity";
import { runCommand } from "../../../src/provider/commands/run-command";
import { until } from "../../support/until";

test("a program that leaves something behind outside of its group is not waited for", {
  timeout: 60_000,
}, async (t) => {
  const signal = new AbortController().signal;
  const script = "setsid sleep 300 & echo $!";
  const out = await runCommand({
    command: ["/bin/sh", "-c", script],
    cwd: process.cwd(),
    env: {},
    timeoutMs: 60_000,
    signal,
  });
  const left = Number(out.trim());
  t.after(() => process.kill(left, "SIGKILL"));
  assert.equal(process.kill(left, 0), true, "it holds the output open still");
});

test("a program ends with its parent, even if that is killed", { timeout: 60_000 }, async (t) => {
  const script = "sleep 300 & echo $$ $!; wait";
  const runner = path.join(__dirname, "../support/run-command.ts");
  const child = spawn(process.execPath, [...process.execArgv, runner, "/bin/sh", "-c", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const pids = line.toString().trim().split(" ").map(Number);
  assert.equal(pids.length, 2, line.toString());
  child.kill("SIGKILL");
  await until("the program and what it started to end", () => pids.every((pid) => !runs(pid)));
});

/** Whether a process runs; one that has ended and was not waited for does not. */
function runs(pid: number): boolean {
  const stat = readStat(pid);
  return stat !== undefined && !isDead(stat);
}
