import { type FileHandle, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { owner } from "../../model/protocol/transaction";
import { codeOf } from "../../model/types/errors";

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

  async append(record: Distribute<JournalEntry>): Promise<void> {
    const start = this.torn ? "\n" : "";
    const line = Buffer.from(`${start}${JSON.stringify({ at: new Date().toISOString(), ...record })}\n`);
    this.torn = true;
    await this.handle.writeFile(line);
    await this.handle.datasync();
    this.torn = false;
    this.size += line.length;
  }

  /** Starts a new file once this one is large; only called while no transaction is open. */
  async rotate(): Promise<void> {
    if (this.size < ROTATE_AT) return;
    await this.handle.close();
    await rename(this.path, `${this.path}.1`);
    this.handle = await open(this.path, "a", 0o600);
    this.size = 0;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

async function readJournal(
  path: string,
): Promise<{ open: OpenTransaction[]; notes: string[]; size: number; torn: boolean }> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { open: [], notes: [], size: 0, torn: false };
    throw error;
  }
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
