import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { appendFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { codeOf, messageOf } from "../../../src/model/types/errors";
import { bench, nextExit, output, script } from "./support";

/** A file system of 256 KiB, unmounted after the test; a reason to skip where it cannot be had. */
function smallDisk(): { path: string } | { skip: string } {
  if (process.getuid?.() !== 0) return { skip: "needs root, to mount a small tmpfs" };
  const path = mkdtempSync(join(tmpdir(), "sluice-d-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", path], { stdio: "pipe" });
    return { path };
  } catch (error) {
    rmSync(path, { recursive: true });
    return { skip: `tmpfs cannot be mounted here: ${messageOf(error)}` };
  }
}

async function fill(path: string): Promise<void> {
  for (;;) {
    try {
      await appendFile(join(path, "filler"), Buffer.alloc(4096));
    } catch (error) {
      assert.equal(codeOf(error), "ENOSPC");
      assert.equal(statfsSync(path).bavail, 0);
      return;
    }
  }
}

test("on a full disk, exits are recorded, stop works, and a launch fails before anything is spawned", async (t) => {
  const disk = smallDisk();
  if ("skip" in disk) return t.skip(disk.skip);
  const { open, events } = await bench(t, join(disk.path, "processes"));
  t.after(() => {
    execFileSync("umount", [disk.path]);
    rmSync(disk.path, { recursive: true });
  });
  const host = await open();
  await host.launch("exits", script("trap 'exit 6' USR1; echo on; while :; do sleep 0.02; done"));
  await host.launch("deaf", script("trap '' TERM; while :; do echo noise; sleep 0.02; done"));
  await host.launch("lost", script("exec sleep 60"));
  // Their traps are set.
  await Promise.all([output(host, "exits", /on/), output(host, "deaf", /noise/)]);
  await fill(disk.path);

  await assert.rejects(host.launch("new", script("sleep 60")), /process new cannot be started: ENOSPC/);
  assert.equal(host.get("new"), undefined);
  assert.deepEqual((await readdir(join(disk.path, "processes"))).sort(), [".status", "deaf", "exits", "lost"]);
  assert.deepEqual(await host.orphans(), []);

  const ended = nextExit(host, "exits");
  process.kill(host.get("exits")?.pid ?? 0, "SIGUSR1");
  assert.equal((await ended).exit?.code, 6);
  const lost = nextExit(host, "lost");
  process.kill(-(host.get("lost")?.group ?? 0), "SIGKILL");
  await lost;
  assert.match((await host.stop("deaf", { signal: "SIGTERM", graceMs: 50 })).exit?.reason ?? "", /50 ms after SIGTERM/);

  const next = await open();
  assert.deepEqual(
    next
      .list()
      .map(({ id, exit }) => [id, exit?.code, exit?.signal])
      .sort(),
    [
      ["deaf", null, "SIGKILL"],
      ["exits", 6, null],
      ["lost", null, null],
    ],
  );
  assert.deepEqual(
    events.filter(({ message }) => /could not be recorded/.test(message)),
    [],
  );
  await rm(join(disk.path, "filler"));
  await next.remove("exits");
  assert.equal((await next.launch("exits", script("exec sleep 60"))).state, "running");
});
