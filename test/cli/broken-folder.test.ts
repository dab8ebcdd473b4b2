import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { diskProblem, fillDisk, mountDisk, unmountDisk } from "../faults/support/disk";
import { startTestAgent, temporaryFolder } from "../support/agent";
import { until } from "../support/until";
import { sluice } from "./support/sluice";

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
  const said = async (...args: string[]) => {
    const { code, stdout } = await sluice([...args, "--socket", socket]);
    return `${code} ${stdout.replaceAll(/\s+/g, " ")}`;
  };
  const told = (event: RegExp) => until(`the event ${event}`, async () => event.test(await said("events")));
  assert.match(await said("status"), /^0 all good /);
  assert.match(await said("agent", "status"), /^0 /);

  fillDisk(join(directory, "filler"));
  for (const args of [["status"], ["doctor"], ["agent", "status"]])
    assert.match(await said(...args), /^1 .*the disk of the agent's state folder/);
  await told(/agent: the disk of the agent's state folder \S+ has \d+ KiB left/);
  await rm(join(directory, "filler"));
  await told(/agent: its state folder is good again, after /);
  assert.match(await said("status"), /^0 all good /);

  execFileSync("mount", ["--bind", directory, directory]);
  try {
    execFileSync("mount", ["-o", "remount,bind,ro", directory]);
    for (const args of [["status"], ["doctor"], ["agent", "status"]])
      assert.match(await said(...args), /^1 .*its state folder \S+ can't be written to \(EROFS\)/);
    await told(/agent: its state folder \S+ can't be written to/);
  } finally {
    unmountDisk(directory);
  }
  assert.match(await said("status"), /^0 all good /);

  mountDisk(directory);
  try {
    assert.match(await said("status"), /^1 .*its state folder \S+ is claimed by no agent any more/);
    assert.match(await said("doctor"), /^1 .*its state folder \S+ is claimed by no agent any more/);
  } finally {
    unmountDisk(directory);
  }
  assert.match(await said("status"), /^0 all good /);
});
