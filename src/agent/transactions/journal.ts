import { type FileHandle, open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { owner } from "../../model/protocol/transaction";
import { Batched, type Call } from "../support/batched";
import { ifThere, readIfThere } from "../support/files";

/** Size at which the journal starts afresh when no transaction is open, in bytes. */
const ROTATE_AT = 1024 * 1024;

const entry = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("opened"), at: z.string(), id: z.string(), target: z.string(), owner }),
  z.strictObject({ kind: z.literal("step"), at: z.string(), id: z.string(), verb: z.string() }),
  z.strictObject({ kind: z.literal("committed"), at: z.string(), id: z.string() }),
  z.strictObject({ kind: z.literal("undoing"), at: z.string(), id: z.string(), reason: z.string() }),
  z.strictObject({ kind: z.literal("undone"), at: z.string(), id: z.string() }),
]);
export type JournalEntry = z.output<typeof entry>;
type Distribute<T> = T extends unknown ? Omit<T, "at"> : never;

/** Transactions that a journal left open. */
export type OpenTransaction = Extract<JournalEntry, { kind: "opened" }>;

/**
 * The append-only record of transactions, flushed to disk before the step that it announces. What an open transaction
 * changed is not listed: undoing is to drive reality back to the committed state, whatever was reached.
 */
export class Journal {
  /** Lines of the transactions that are open, by id. */
  private readonly opened = new Map<string, string>();
  private readonly lines = new Batched<string, void>((calls) => this.write(calls));

  private constructor(
    private readonly path: string,
    private handle: FileHandle,
    private size: number,
    /** Whether the last line has no end, since a write was cut short by a full disk or a kill. */
    private torn: boolean,
  ) {}

  static async openIn(directory: string): Promise<{ journal: Journal; open: OpenTransaction[]; notes: string[] }> {
    const path = join(directory, "journal.ndjson");
    const { open: left, notes, size, torn } = await readJournal(path);
    return { journal: new Journal(path, await open(path, "a", 0o600), size, torn), open: left, notes };
  }

  /** Resolves once the entry is on disk. */
  append(record: Distribute<JournalEntry>): Promise<void> {
    const line = `${JSON.stringify({ at: new Date().toISOString(), ...record })}\n`;
    if (record.kind === "opened") this.opened.set(record.id, line);
    else if (record.kind === "committed" || record.kind === "undone") this.opened.delete(record.id);
    return this.lines.call(line);
  }

  private async write(calls: readonly Call<string, void>[]): Promise<void> {
    const lines = Buffer.from((this.torn ? "\n" : "") + calls.map(({ value }) => value).join(""));
    this.torn = true;
    await this.handle.writeFile(lines);
    await this.handle.datasync();
    this.torn = false;
    this.size += lines.length;
    for (const { resolve } of calls) resolve();
  }

  /** Starts a new file once this one is large; only called while no transaction is open. */
  rotate(): Promise<void> {
    return this.lines.between(async () => {
      if (this.size < ROTATE_AT) return;
      await this.handle.close();
      await rename(this.path, `${this.path}.1`);
      this.handle = await open(this.path, "a", 0o600);
      this.size = 0;
    });
  }

  /** Begins the file again where it was deleted or replaced, with the transactions that are open. @returns what was done, if anything */
  async restoreFiles(): Promise<string[]> {
    let restored: string[] = [];
    await this.lines.between(async () => {
      const [there, own] = await Promise.all([ifThere(stat(this.path)), this.handle.stat()]);
      if (there?.ino === own.ino) return;
      const before = this.handle;
      this.handle = await open(this.path, "a", 0o600);
      await before.close();
      this.torn = (there?.size ?? 0) > 0;
      this.size = there?.size ?? 0;
      const lines = (this.torn ? "\n" : "") + [...this.opened.values()].join("");
      await this.handle.writeFile(lines);
      await this.handle.datasync();
      this.torn = false;
      this.size += Buffer.byteLength(lines);
      restored = [`${this.path} was deleted, and begins again`];
    });
    return restored;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

async function readJournal(
  path: string,
): Promise<{ open: OpenTransaction[]; notes: string[]; size: number; torn: boolean }> {
  const text = await readIfThere(path);
  if (text === undefined) return { open: [], notes: [], size: 0, torn: false };
  const left = new Map<string, OpenTransaction>();
  const notes: string[] = [];
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    if (line === "") continue;
    const parsed = parseLine(line);
    if (parsed === undefined) notes.push(`${path}:${index + 1} is not a journal entry (a write that was cut short?)`);
    else if (parsed.kind === "opened") left.set(parsed.id, parsed);
    else if (parsed.kind === "committed" || parsed.kind === "undone") left.delete(parsed.id);
  }
  const torn = text !== "" && !text.endsWith("\n");
  return { open: [...left.values()], notes, size: Buffer.byteLength(text), torn };
}

function parseLine(line: string): JournalEntry | undefined {
  try {
    return entry.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
