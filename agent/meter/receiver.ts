import { createServer, type Server, type Socket } from "node:net";
import { listenForWorkers } from "../worker-socket";
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

  /** Listens at a path for HAProxy's workers (see {@link listenForWorkers}). */
  listen(path: string, group: number | undefined): Promise<void> {
    return listenForWorkers(this.server, path, group);
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
