import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { faultTests } from "./support/suite";

/** Room for the agent's program, its reserve and what it needs to begin a promotion. */
const DISK_MIB = 24;
const FILLER = "filler";

faultTests({
  name: "disk full on the agent's state folder",
  hitless: true,
  skip: problem(),
  options: { folder: smallDisk },
  aim: async ({ directory }) => ({
    hit: () => fill(join(directory, FILLER)),
    mend: () => rm(join(directory, FILLER)),
  }),
});

/** Why no disk can be mounted here. */
function problem(): string | undefined {
  if (process.getuid?.() !== 0) return "only root can mount a small disk";
  const path = join(tmpdir(), `sl-probe-${process.pid}`);
  try {
    execFileSync("mkdir", [path]);
    mount(path);
    execFileSync("umount", [path]);
    return undefined;
  } catch (error) {
    return `no disk can be mounted here: ${(error as Error).message}`;
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

async function smallDisk() {
  const path = await mkdtemp(join(tmpdir(), "sl-d-"));
  mount(path);
  return {
    path,
    remove: async () => {
      // What was killed a moment ago may still be leaving its folder.
      execFileSync("umount", ["--lazy", path]);
      await rm(path, { recursive: true, force: true });
    },
  };
}

function mount(path: string): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_MIB}m,mode=0700`, "tmpfs", path], { stdio: "pipe" });
}

/** Writes a file until not one more byte fits. */
function fill(path: string): void {
  const file = openSync(path, constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND, 0o600);
  try {
    for (let size = 1024 * 1024; size >= 1; ) {
      try {
        writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size = Math.floor(size / 16);
      }
    }
  } finally {
    closeSync(file);
  }
}
