import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { codeOf } from "../../../src/model/types/errors";

/** Room for the agent's program, its reserve and what it needs to begin a promotion. */
const DISK_MIB = 24;

/** Why no small disk can be mounted here. */
export function diskProblem(): string | undefined {
  if (process.getuid?.() !== 0) return "only root can mount a small disk";
  const path = mkdtempSync(join(tmpdir(), "sl-probe-"));
  try {
    mountDisk(path);
    unmountDisk(path);
    return undefined;
  } catch (error) {
    return `no disk can be mounted here: ${(error as Error).message}`;
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

/** Puts a small file system of its own in the place of a folder. */
export function mountDisk(path: string, { mib = DISK_MIB, inodes }: { mib?: number; inodes?: number } = {}): void {
  const options = [`size=${mib}m`, "mode=0700", ...(inodes === undefined ? [] : [`nr_inodes=${inodes}`])];
  execFileSync("mount", ["-t", "tmpfs", "-o", options.join(","), "tmpfs", path], { stdio: "pipe" });
}

/** A process that was killed a moment ago may still be leaving its folder. */
export function unmountDisk(path: string): void {
  execFileSync("umount", ["--lazy", path], { stdio: "pipe" });
}

/** Writes a file until not one more byte fits on its disk. */
export function fillDisk(path: string): void {
  const file = openSync(path, constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND, 0o600);
  try {
    for (let size = 1024 * 1024; size >= 1; ) {
      try {
        writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if (codeOf(error) !== "ENOSPC") throw error;
        size = Math.floor(size / 16);
      }
    }
  } finally {
    closeSync(file);
  }
}

/** Makes empty files in a folder of their own until their disk has no inode left. */
export function fillInodes(path: string): void {
  mkdirSync(path);
  for (let index = 0; ; index++) {
    try {
      closeSync(openSync(join(path, String(index)), "wx"));
    } catch (error) {
      if (codeOf(error) === "ENOSPC") return;
      throw error;
    }
  }
}
