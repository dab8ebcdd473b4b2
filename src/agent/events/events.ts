import { EventEmitter } from "node:events";
import { createReadStream } from "node:fs";
import { appendFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { AgentEvent } from "../../model/protocol/transaction";
import { safeText, safeTexts } from "../../model/types/safe-text";
import type { EventLog } from "./event-log";

/** Events kept in memory for followers that ask for recent ones. */
const RECENT = 500;
/** Size at which the file is rotated, in bytes; one older file is kept. */
const ROTATE_AT = 8 * 1024 * 1024;

/**
 * Events on the host, one JSON line each, in `events.ndjson` of the state folder, and in the agent's log if it has one.
 */
export class Events {
  private readonly emitter = new EventEmitter().setMaxListeners(0);
  private readonly recentEvents: AgentEvent[] = [];
  private readonly path: string;
  private writing: Promise<void> = Promise.resolve();
  /** Lines that are written in one go once those before are. */
  private unwritten = "";
  /** Destinations that can't be written to now: reported once. */
  private readonly failing = new Set<string>();

  constructor(
    directory: string,
    private readonly log?: EventLog,
  ) {
    this.path = join(directory, "events.ndjson");
  }

  emit(message: string, data: Record<string, unknown> = {}): void {
    const event: AgentEvent = { at: new Date().toISOString(), message: safeText(message), data: safeTexts(data) };
    this.recentEvents.push(event);
    if (this.recentEvents.length > RECENT) this.recentEvents.shift();
    this.emitter.emit("event", event);
    const isFirst = this.unwritten === "";
    this.unwritten += `${JSON.stringify(event)}\n`;
    if (isFirst) this.writing = this.writing.then(() => this.writeAll());
  }

  private async writeAll(): Promise<void> {
    const lines = this.unwritten;
    this.unwritten = "";
    await this.tolerating(this.path, () => this.record(lines));
    await this.tolerating("the agent's log", async () => this.log?.write(lines));
  }

  /** Calls `listener` for each event from now on; the returned function ends that. */
  follow(listener: (event: AgentEvent) => void): () => void {
    this.emitter.on("event", listener);
    return () => this.emitter.off("event", listener);
  }

  recent(): AgentEvent[] {
    return [...this.recentEvents];
  }

  /** Everything on record from a time on until this call, of earlier agents in this folder, too; oldest first. */
  async *history(since: Date): AsyncGenerator<AgentEvent> {
    const inMemory = this.recent();
    const first = inMemory[0];
    const end = first?.at ?? new Date().toISOString();
    const from = since.toISOString();
    const firstLine = JSON.stringify(first);
    if (first === undefined || first.at >= from) {
      await this.flush();
      for await (const { line, event } of this.recorded()) {
        // From here on they are in memory, too; where the disk was full, in memory only.
        if (line === firstLine || event.at > end) break;
        if (event.at >= from) yield event;
      }
    }
    yield* inMemory.filter(({ at }) => at >= from);
  }

  /** Goes on in new log files: those before were moved away. */
  reopen(): void {
    this.writing = this.writing.then(() => this.tolerating("the agent's log", async () => this.log?.reopen()));
  }

  flush(): Promise<void> {
    return this.writing;
  }

  private async *recorded(): AsyncGenerator<{ line: string; event: AgentEvent }> {
    for (const path of [`${this.path}.1`, this.path]) {
      const stream = createReadStream(path);
      // Neither file is there at first; the lines' reader does not pass on what goes wrong.
      const failed = new Promise<"missing">((resolve, reject) =>
        stream.once("error", (error: NodeJS.ErrnoException) =>
          error.code === "ENOENT" ? resolve("missing") : reject(error),
        ),
      );
      const opened = new Promise<"open">((resolve) => stream.once("open", () => resolve("open")));
      if ((await Promise.race([failed, opened])) === "missing") continue;
      for await (const line of createInterface({ input: stream })) {
        const event = parsed(line);
        if (event !== undefined) yield { line, event };
      }
    }
  }

  /** Events are a record for people, not the truth that recovery needs: a full disk must not stop traffic work. It is said once. */
  private async tolerating(where: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.failing.delete(where);
    } catch (error) {
      if (!this.failing.has(where))
        process.stderr.write(`events can't be written to ${where}: ${(error as Error).message}\n`);
      this.failing.add(where);
    }
  }

  private async record(lines: string): Promise<void> {
    await appendFile(this.path, lines, { mode: 0o600 });
    if ((await stat(this.path)).size > ROTATE_AT) await rename(this.path, `${this.path}.1`);
  }
}

/** Nothing for a line that a full disk or a kill has cut short. */
function parsed(line: string): AgentEvent | undefined {
  try {
    return JSON.parse(line) as AgentEvent;
  } catch {
    return undefined;
  }
}
