import { EventEmitter } from "node:events";
import { appendFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import type { AgentEvent } from "../model/transaction";

/** Events kept in memory for followers that ask for recent ones. */
const RECENT = 500;
/** Size at which the file is rotated, in bytes; one older file is kept. */
const ROTATE_AT = 8 * 1024 * 1024;

/** What happens on the host, one JSON line each, in `events.ndjson` of the state folder. */
export class Events {
  private readonly emitter = new EventEmitter().setMaxListeners(0);
  private readonly recentEvents: AgentEvent[] = [];
  private readonly path: string;
  private writing: Promise<void> = Promise.resolve();
  private failing = false;

  constructor(directory: string) {
    this.path = join(directory, "events.ndjson");
  }

  emit(message: string, data: Record<string, unknown> = {}): void {
    const event: AgentEvent = { at: new Date().toISOString(), message, data };
    this.recentEvents.push(event);
    if (this.recentEvents.length > RECENT) this.recentEvents.shift();
    this.emitter.emit("event", event);
    const line = `${JSON.stringify(event)}\n`;
    this.writing = this.writing.then(() => this.write(line));
  }

  /** Calls `listener` for each event from now on; the returned function ends that. */
  follow(listener: (event: AgentEvent) => void): () => void {
    this.emitter.on("event", listener);
    return () => this.emitter.off("event", listener);
  }

  recent(): AgentEvent[] {
    return [...this.recentEvents];
  }

  flush(): Promise<void> {
    return this.writing;
  }

  /** Events are a record for people, not the truth that recovery needs: a full disk must not stop traffic work. It is said once. */
  private async write(line: string): Promise<void> {
    try {
      await appendFile(this.path, line, { mode: 0o600 });
      if ((await stat(this.path)).size > ROTATE_AT) await rename(this.path, `${this.path}.1`);
      this.failing = false;
    } catch (error) {
      if (!this.failing) process.stderr.write(`events can't be written to ${this.path}: ${(error as Error).message}\n`);
      this.failing = true;
    }
  }
}
