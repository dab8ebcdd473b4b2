import { type FileHandle, open } from "node:fs/promises";
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
    this.handle ??= await open(this.path, "a", PRIVATE_FILE_MODE);
    await this.handle.appendFile(lines);
  }

  async reopen(): Promise<void> {
    const before = this.handle;
    this.handle = undefined;
    await before?.close();
    this.handle = await open(this.path, "a", PRIVATE_FILE_MODE);
  }
}
