import { rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "./files";
import { Problem } from "./problem";

/** Disk space kept in reserve for an undo on a full disk, in bytes: some configs, journal lines and process records. */
const RESERVE = 1024 * 1024;
/** Space below which no transaction is opened, in bytes. */
const NEEDED = 4 * 1024 * 1024;

/**
 * A file that holds disk space back, so that what a full disk interrupted can still be undone. It is given up for the
 * undo and taken again afterwards.
 */
export class Ballast {
  private readonly path: string;
  private borrowers = 0;

  constructor(private readonly directory: string) {
    this.path = join(directory, "ballast");
  }

  /** Takes the reserve; a disk that is too full for it is found by {@link check} before anything changes. */
  async take(): Promise<void> {
    try {
      const { size } = await stat(this.path);
      if (size === RESERVE) return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    try {
      await writeFileAtomic(this.path, Buffer.alloc(RESERVE), 0o600);
    } catch (error) {
      if (!isFull(error)) throw error;
      await rm(this.path, { force: true });
    }
  }

  /** Refuses new work on a disk that is nearly full. */
  async check(): Promise<void> {
    const free = await this.free();
    if (free < NEEDED)
      throw new Problem(
        503,
        "disk-full",
        `the disk of the agent's state folder ${this.directory} has ${Math.floor(free / 1024)} KiB left: free at least ${NEEDED / 1024 / 1024} MiB`,
      );
  }

  /** Runs work that must get through on a full disk: where space is short, the reserve is given up until all such work is done. */
  async lend<T>(work: () => Promise<T>): Promise<T> {
    this.borrowers += 1;
    try {
      if ((await this.free()) < NEEDED) await rm(this.path, { force: true });
      return await work();
    } finally {
      this.borrowers -= 1;
      // What it could not be taken for shows in `check` before the next change.
      if (this.borrowers === 0) await this.take().catch(() => undefined);
    }
  }

  private async free(): Promise<number> {
    const { bavail, bsize } = await statfs(this.directory);
    return bavail * bsize;
  }
}

function isFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOSPC" || code === "EDQUOT";
}
