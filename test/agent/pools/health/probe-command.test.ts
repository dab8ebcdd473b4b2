import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import test from "node:test";
import { probeCommand } from "../../../../src/agent/pools/health/probe-command";
import { isDead, readStat } from "../../../../src/agent/processes/identity";
import { until } from "../../../support/until";

test("a command beside a process", async (t) => {
  const probed = (pid: number) =>
    probeCommand(
      ["/bin/true"],
      {
        id: "web",
        argv: [],
        cwd: "/",
        labels: {},
        state: "running",
        pid,
        group: pid,
        startedAt: new Date().toISOString(),
        adopted: false,
      },
      10_000,
      t.signal,
    );
  // Ends its first child, and does not collect it.
  const parent = spawn("/bin/sh", ["-c", "sleep 600 & echo $!; exec sleep 600"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => parent.kill("SIGKILL"));
  const child = Number(String((await once(parent.stdout, "data"))[0]));
  t.after(() => readStat(child) !== undefined && process.kill(child, "SIGKILL"));
  await until("its program to run", () => readStat(child)?.state === "S");

  assert.equal(await probed(child), undefined);

  process.kill(child, "SIGKILL");
  const isOver = () => {
    const stat = readStat(child);
    return stat === undefined || isDead(stat);
  };
  await until("it to be over", isOver);
  assert.equal(await probed(child), "it does not run", "while its parent has not collected it");

  parent.kill("SIGKILL");
  await once(parent, "exit");
  assert.equal(await probed(parent.pid ?? 0), "it does not run", "once it is gone");
});
