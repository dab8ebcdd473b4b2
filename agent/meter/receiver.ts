import { chmod, chown, mkdir, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { droppedOf, emptyLine, MAX_LINE, parseLine } from "./line";
import type { Recorder } from "./recorder";

const LINE_FEED = 0x0a;
/** What a broken line may hold until its connection is given up, in bytes. */
const MAX_REST = 4 * MAX_LINE;

/** Takes the lines that HAProxy's workers send, each over a connection of its own. */
export class Receiver {
  private readonly server: Server;
  private readonly connections = new Set<Socket>();
  private readonly line = emptyLine();
  /** Lines that are none of ours. */
  malformed = 0;
  lines = 0;

  constructor(
    private readonly recorder: Recorder,
    private readonly now: () => number,
  ) {
    this.server = createServer((socket) => this.accept(socket));
  }

  /**
   * Listens at a path; what an agent before left there is replaced.
   *
   * @param group id of the group of HAProxy's workers, where they run under another account
   */
  async listen(path: string, group: number | undefined): Promise<void> {
    const folder = dirname(path);
    // Everybody may pass through the folder above, so that the group gets to its own.
    await mkdir(dirname(folder), { recursive: true, mode: group === undefined ? 0o700 : 0o755 });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (group !== undefined) {
      await chown(folder, 0, group);
      await chmod(folder, 0o750);
    }
    await rm(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      // Nobody may connect before owner and mode are right.
      const umask = process.umask(0o177);
      try {
        this.server.listen(path, () => resolve());
      } finally {
        process.umask(umask);
      }
    });
    if (group === undefined) return;
    await chown(path, 0, group);
    await chmod(path, 0o660);
  }

  get connected(): number {
    return this.connections.size;
  }

  close(): void {
    this.server.close();
    for (const socket of this.connections) socket.destroy();
  }

  private accept(socket: Socket): void {
    this.connections.add(socket);
    let rest: Buffer | undefined;
    let edge: string | undefined;
    const lose = (text: string) => {
      const lines = droppedOf(text);
      if (lines === undefined) this.malformed++;
      else if (edge !== undefined) this.recorder.recordLost(edge, lines);
    };
    socket.on("data", (chunk: Buffer) => {
      this.recorder.tick(this.now());
      const buffer = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      let start = 0;
      const pending: string[] = [];
      for (let end = buffer.indexOf(LINE_FEED); end >= 0; end = buffer.indexOf(LINE_FEED, start)) {
        if (parseLine(buffer, start, end, this.line)) {
          edge ??= this.line.key.slice(0, this.line.key.indexOf(" "));
          this.lines++;
          this.recorder.record(this.line);
        } else pending.push(buffer.toString("latin1", start, end));
        start = end + 1;
      }
      // A worker may say what it lost before its first line tells whose it is.
      for (const text of pending) lose(text);
      rest = start === buffer.length ? undefined : buffer.subarray(start);
      if (rest !== undefined && rest.length > MAX_REST) socket.destroy();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.connections.delete(socket));
  }
}
