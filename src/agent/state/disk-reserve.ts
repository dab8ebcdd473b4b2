import { rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../model/types/errors";
import { ApiError } from "../api/api-error";
import { writeFileAtomic } from "../support/files";

/** Disk space kept in reserve for an undo on a full disk, in bytes: some configs, journal lines and process records. */
const RESERVE = 1024 * 1024;
/** Space below which no transaction is opened, in bytes. */
const NEEDED = 4 * 1024 * 1024;

/**
 * A file that reserves disk space, so that a change which a full disk interrupted can still be undone. It is removed
 * for the undo and written again afterwards.
 */
export class DiskReserve {
  private readonly path: string;
  private users = 0;
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
      if (codeOf(error) !== "ENOENT") throw error;
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
      throw new ApiError(
        503,
        "disk-full",
        `the disk of the agent's state folder ${this.directory} has ${Math.floor(free / 1024)} KiB left: free at least ${NEEDED / 1024 / 1024} MiB`,
      );
  }

  /** Reasons why changes can't be made, or undone, one sentence each; empty while the reserve is in use. */
  async problems(): Promise<string[]> {
    await this.taking;
    if (this.users > 0) return [];
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

  /**
   * Runs work that must get through on a full disk: if space is short, the reserve is removed until all such work is
   * done.
   */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.users += 1;
    try {
      if ((await this.free()) < NEEDED) await rm(this.path, { force: true });
      return await work();
    } finally {
      this.users -= 1;
      // If the disk is too full for it, `check` says so before the next change.
      if (this.users === 0) this.taking = this.take().catch(() => undefined);
      await this.taking;
    }
  }

  private async free(): Promise<number> {
    const { bavail, bsize } = await statfs(this.directory);
    return bavail * bsize;
  }
}

function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOSPC" || code === "EDQUOT";
}
