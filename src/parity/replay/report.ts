import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { jsonText } from "../../model/parity/json";
import type { ParityResult } from "../compare/result";

/** Bytes of all entries, beyond which mismatches are only counted. */
const MAX_ENTRIES = 64 * 1024 * 1024;
const BUFFERED = 256 * 1024;

/**
 * Writes a report of bounded size in bounded memory. The entries go to a file of their own until the counts, which stand
 * before them, are known; the report appears whole, by a rename, or not at all.
 */
export class ReportWriter {
  private buffer: string[] = [];
  private buffered = 0;
  private size = 0;
  private named = 0;
  private omitted = 0;

  private constructor(
    private readonly file: string,
    private readonly entriesFile: string,
    private readonly entries: FileHandle,
    private readonly details: number,
  ) {}

  /**
   * @param details how many mismatches are shown with their rows; later ones are named only
   * @throws where the folder of the report can't be written
   */
  static async open(file: string, details: number): Promise<ReportWriter> {
    const target = resolve(file);
    const entriesFile = join(dirname(target), `.${basename(target)}.${process.pid}.entries`);
    return new ReportWriter(target, entriesFile, await open(entriesFile, "w+", 0o600), details);
  }

  /** Adds what came of a line, unless it was equal. */
  async add(result: ParityResult): Promise<void> {
    if (result.outcome === "equal") return;
    const text = this.size < MAX_ENTRIES ? `${jsonText(entryOf(result, this.named < this.details))},\n` : undefined;
    if (text === undefined) {
      this.omitted++;
      return;
    }
    this.named++;
    this.size += Buffer.byteLength(text);
    this.buffer.push(text);
    this.buffered += text.length;
    if (this.buffered >= BUFFERED) await this.flush();
  }

  /** Writes the report: the members of `head`, then the mismatches. */
  async finish(head: Record<string, unknown>): Promise<void> {
    await this.flush();
    const temporary = `${this.file}.${process.pid}.tmp`;
    try {
      const target = await open(temporary, "w", 0o600);
      try {
        const members = { ...head, mismatchesOmitted: this.omitted };
        const lines = Object.entries(members).map(([key, value]) => `  ${JSON.stringify(key)}: ${jsonText(value)},\n`);
        await target.write(`{\n${lines.join("")}  "mismatches": [\n`);
        await this.copyEntries(target);
        await target.write("  ]\n}\n");
        await target.sync();
      } finally {
        await target.close();
      }
      await rename(temporary, this.file);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    const folder = await open(dirname(this.file), "r");
    await folder.sync().finally(() => folder.close());
  }

  /** Removes what the report was made from. */
  async close(): Promise<void> {
    await this.entries.close();
    await rm(this.entriesFile, { force: true });
  }

  private async flush(): Promise<void> {
    if (this.buffer.length === 0) return;
    const text = this.buffer.join("");
    this.buffer = [];
    this.buffered = 0;
    await this.entries.writeFile(text);
  }

  private async copyEntries(target: FileHandle): Promise<void> {
    const chunk = Buffer.alloc(BUFFERED);
    // Every entry ends in a comma and a line break; the last one has no comma.
    const end = Math.max(0, this.size - ",\n".length);
    for (let at = 0; at < end; ) {
      const { bytesRead } = await this.entries.read(chunk, 0, Math.min(chunk.length, end - at), at);
      if (bytesRead === 0) throw new Error(`${this.entriesFile} was cut while it was read`);
      await target.writeFile(chunk.subarray(0, bytesRead));
      at += bytesRead;
    }
    if (end > 0) await target.write("\n");
  }
}

function entryOf(result: ParityResult, detailed: boolean): Record<string, unknown> {
  if (result.outcome === "equal") throw new Error("an equal request is not a mismatch");
  const { line, request, outcome, ms } = result;
  const entry = { line, class: outcome, request };
  if (!detailed) return entry;
  if (result.outcome === "error") return { ...entry, errors: result.errors, ms: rounded(ms) };
  return { ...entry, rows: result.rows, diff: result.diff, ms: rounded(ms) };
}

function rounded(ms: ParityResult["ms"]): Record<string, number> {
  return Object.fromEntries(Object.entries(ms).map(([side, value]) => [side, Math.round(value * 1000) / 1000]));
}
