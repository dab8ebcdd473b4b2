import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { diskProblem, fillDisk, mountDisk, unmountDisk } from "../../faults/support/disk";
import { startTestAgent, temporaryFolder } from "../../support/agent";
import { until } from "../../support/until";
import { sluice } from "../support/sluice";

const withoutDisk = diskProblem() ?? false;

test("a state folder whose disk is full, read-only, or over which another one lies, is said", {
  skip: withoutDisk,
}, async (t) => {
  const sockets = await temporaryFolder(t);
  const directory = await mkdtemp(join(tmpdir(), "sl-"));
  mountDisk(directory);
  const socket = join(sockets, "a.sock");
  try {
    await startTestAgent(t, { directory, agent: { socket } });
  } finally {
    // After the agent's own end, for which its folder is needed.
    t.after(async () => {
      unmountDisk(directory);
      await rm(directory, { recursive: true, force: true });
    });
  }
  const run = async (...args: string[]) => {
    const { code, stdout } = await sluice([...args, "--socket", socket]);
    return `${code} ${stdout.replaceAll(/\s+/g, " ")}`;
  };
  const untilEvent = (event: RegExp) => until(`the event ${event}`, async () => event.test(await run("events")));
  assert.match(await run("status"), /^0 all good /);
  assert.match(await run("agent", "status"), /^0 /);

  fillDisk(join(directory, "filler"));
  for (const args of [["status"], ["doctor"], ["agent", "status"]])
    assert.match(await run(...args), /^1 .*the disk of the agent's state folder/);
  await untilEvent(/agent: the disk of the agent's state folder \S+ has \d+ KiB left/);

  // One problem takes the place of another one within a look: both are told, each with its own end.
  const filler = await open(join(directory, "filler"), "r+");
  execFileSync("mount", ["--bind", directory, directory]);
  try {
    execFileSync("mount", ["-o", "remount,bind,ro", directory]);
    await filler.truncate();
    await filler.close();
    for (const args of [["status"], ["doctor"], ["agent", "status"]])
      assert.match(await run(...args), /^1 .*its state folder \S+ can't be written to \(EROFS\)/);
    await untilEvent(/agent: its state folder \S+ can't be written to/);
    await untilEvent(/agent: its disk has room again, after /);
  } finally {
    unmountDisk(directory);
  }
  await untilEvent(/agent: its right to write to its state folder is there again, after /);
  assert.match(await run("status"), /^0 all good /);

  mountDisk(directory);
  try {
    assert.match(await run("status"), /^1 .*its state folder \S+ is claimed by no agent any more/);
    assert.match(await run("doctor"), /^1 .*its state folder \S+ is claimed by no agent any more/);
  } finally {
    unmountDisk(directory);
  }
  assert.match(await run("status"), /^0 all good /);
});
