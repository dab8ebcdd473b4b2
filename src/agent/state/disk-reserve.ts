import { readdir, rename, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../model/types/errors";
import { ApiError } from "../api/api-error";
import { ifThere, makeFolder, PRIVATE_FILE_MODE, sizeOf, writeFileAtomic } from "../support/files";

/** Disk space kept in reserve for an undo on a full disk, in bytes: some configs, journal lines and process records. */
const RESERVE = 1024 * 1024;
/** Space below which no transaction is opened, in bytes. */
const NEEDED = 4 * 1024 * 1024;
/** Inodes kept in reserve for an undo: each file that it replaces needs one for a moment, each process that it starts some. */
const RESERVE_INODES = 128;
/** Free inodes below which no transaction is opened. */
const NEEDED_INODES = 256;

const FILE = "disk-reserve";
/** Its name before version 2 of the agent's API. */
const FORMER_FILE = "ballast";

/** Disk space and inodes that are left. */
interface Free {
  bytes: number;
  /** Infinite where the file system makes them as they are needed. */
  inodes: number;
}

/**
 * Files that reserve disk space and inodes, so that a change which a full disk interrupted can still be undone. They are
 * removed for the undo and written again afterwards.
 */
export class DiskReserve {
  private readonly path: string;
  /** Folder of empty files. */
  private readonly inodes: string;
  private users = 0;
  /** The reserve being taken again. */
  private taking: Promise<void> = Promise.resolve();

  private constructor(private readonly directory: string) {
    this.path = join(directory, FILE);
    this.inodes = join(directory, `${FILE}.inodes`);
  }

  static async openIn(directory: string): Promise<DiskReserve> {
    await ifThere(rename(join(directory, FORMER_FILE), join(directory, FILE)));
    return new DiskReserve(directory);
  }

  /** Takes the reserve; a disk that is too full for it is found by {@link check} before anything changes. */
  async take(): Promise<void> {
    if (await this.isTaken()) return;
    try {
      await writeFileAtomic(this.path, Buffer.alloc(RESERVE), PRIVATE_FILE_MODE);
      await makeFolder(this.inodes);
      for (let index = 0; index < RESERVE_INODES; index++)
        await writeFile(join(this.inodes, String(index)), "", { mode: PRIVATE_FILE_MODE });
    } catch (error) {
      if (!isFull(error)) throw error;
      await this.release();
    }
  }

  /** Refuses new work on a disk that is nearly full. */
  async check(): Promise<void> {
    const { bytes, inodes } = await this.free();
    const refuse = (left: string, needed: string) => {
      throw new ApiError(
        503,
        "disk-full",
        `the disk of the agent's state folder ${this.directory} has ${left} left: free at least ${needed}`,
      );
    };
    if (bytes < NEEDED) refuse(`${Math.floor(bytes / 1024)} KiB`, `${NEEDED / 1024 / 1024} MiB`);
    if (inodes < NEEDED_INODES) refuse(`${inodes} inodes`, `${NEEDED_INODES}, by the removal of small files`);
  }

  /** Why no change can be made on a disk that is nearly full; empty while the reserve is in use. */
  async fullProblems(): Promise<string[]> {
    await this.taking;
    if (this.users > 0) return [];
    return this.check().then(
      () => [],
      (error: Error) => {
        if (!(error instanceof ApiError)) throw error;
        return [`${error.message}; until then no change is made`];
      },
    );
  }

  /** Why an undo might not succeed on a full disk; empty while the reserve is in use. */
  async lostProblems(): Promise<string[]> {
    await this.taking;
    if (this.users > 0) return [];
    return (await this.isTaken())
      ? []
      : [
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
      const { bytes, inodes } = await this.free();
      if (bytes < NEEDED || inodes < NEEDED_INODES) await this.release();
      return await work();
    } finally {
      this.users -= 1;
      // If the disk is too full for it, `check` says so before the next change.
      if (this.users === 0) this.taking = this.take().catch(() => undefined);
      await this.taking;
    }
  }

  private async isTaken(): Promise<boolean> {
    const names = (await ifThere(readdir(this.inodes))) ?? [];
    return (await sizeOf(this.path)) === RESERVE && names.length >= RESERVE_INODES;
  }

  private async release(): Promise<void> {
    await rm(this.path, { force: true });
    await rm(this.inodes, { recursive: true, force: true });
  }

  private async free(): Promise<Free> {
    const { bavail, bsize, files, ffree } = await statfs(this.directory);
    return { bytes: bavail * bsize, inodes: files === 0 ? Number.POSITIVE_INFINITY : ffree };
  }
}

function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOSPC" || code === "EDQUOT";
}
