import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { codeOf } from "../../model/types/errors";
import { assertLogFolder } from "../state/private-folder";
import { PRIVATE_FILE_MODE } from "../support/files";

/** Bytes that a reader of standard output may leave unread before lines are dropped. */
const MAX_UNREAD = 1024 * 1024;

/** Destination of the agent's log, besides the record in its state folder. */
export interface EventLog {
  /** @param lines one or more, each with its end */
  write(lines: string): Promise<void>;
  /** Goes on in a new file of the same name: the one before was moved away. */
  reopen(): Promise<void>;
}

/** Standard output, for a supervisor that keeps it, such as systemd. A reader that is stuck costs lines, not memory. */
export class StandardOutput implements EventLog {
  private dropped = 0;

  async write(lines: string): Promise<void> {
    if (process.stdout.writableLength > MAX_UNREAD) {
      this.dropped += lines.split("\n").length - 1;
      return;
    }
    if (this.dropped > 0) {
      process.stdout.write(
        `${JSON.stringify({ at: new Date().toISOString(), message: `${this.dropped} events were dropped: nobody read them`, data: {} })}\n`,
      );
      this.dropped = 0;
    }
    process.stdout.write(lines);
  }

  async reopen(): Promise<void> {
    // Its owner rotates it.
  }
}

/** A file that stays open, so that it may be moved away and written to the end until it is reopened: logrotate needs no copytruncate. */
export class LogFile implements EventLog {
  private handle: FileHandle | undefined;

  constructor(private readonly path: string) {}

  async write(lines: string): Promise<void> {
    this.handle ??= await openLog(this.path);
    await this.handle.appendFile(lines);
  }

  async reopen(): Promise<void> {
    const before = this.handle;
    this.handle = undefined;
    await before?.close();
    this.handle = await openLog(this.path);
  }
}

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;

/** Opens a log to append to it; never another file that somebody else has put in its place. */
async function openLog(path: string): Promise<FileHandle> {
  await assertLogFolder(dirname(path));
  const file = await open(path, O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_WRONLY, PRIVATE_FILE_MODE).catch(
    (error: Error) => {
      if (codeOf(error) === "ELOOP")
        throw new Error(`${path} is a symbolic link: remove it, or name the file that it leads to as the log`);
      throw error;
    },
  );
  const found = await file.stat();
  if (found.isFile() && found.nlink === 1 && (found.uid === 0 || found.uid === process.getuid?.())) return file;
  await file.close();
  throw new Error(
    `${path} belongs to user ${found.uid} and has ${found.nlink} names, or is not a plain file: remove it, and the agent creates its own`,
  );
}
