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
  /** The reserve being taken again. */
  private taking: Promise<void> = Promise.resolve();

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

  /** What keeps changes from being made, or from being undone, one sentence each; nothing while the reserve is lent. */
  async problems(): Promise<string[]> {
    await this.taking;
    if (this.borrowers > 0) return [];
    const full = await this.check().then(
      () => [],
      (error: Error) => [`${error.message}; until then no change is made`],
    );
    const size = await stat(this.path).then(
      (found) => found.size,
      () => 0,
    );
    return size === RESERVE
      ? full
      : [
          ...full,
          `the disk space in reserve for an undo on a full disk (${this.path}) is lost: the next change takes it again where there is room`,
        ];
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
      if (this.borrowers === 0) this.taking = this.take().catch(() => undefined);
      await this.taking;
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
