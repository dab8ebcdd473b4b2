import assert from "node:assert/strict";
import test from "node:test";
import { runCommand } from "../../provider/resources/run-command";

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
