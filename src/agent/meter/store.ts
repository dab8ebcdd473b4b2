import { mkdir, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ifThere, makeFolder, PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE } from "../support/files";
import { addEncoded, Cell } from "./cell";
import { COARSE_KEPT_MS, COARSE_MS } from "./recorder";
import type { SeriesTable } from "./series";
import { cellsOf, pack, type TimeSlot } from "./time-slot";

/** Time that one file holds, in milliseconds. */
const FILE_MS = 3_600_000;
const FILE = /^(\d{13})\.ndjson$/;
/** Slots that wait for a slow disk at most: what comes then is lost to the file, not to the memory. */
const MAX_WAITING = 100;

const record = z.strictObject({
  start: z.int().min(0),
  coveredMs: z.number().min(0).max(COARSE_MS),
  lost: z.record(z.string(), z.int().min(0)).default({}),
  cells: z.array(z.tuple([z.string(), z.string().nullable(), z.base64()])),
});

/**
 * The coarse slots on disk, a file per hour with a line per slot, so that a day can be judged after an agent's restart. They
 * are not flushed to the device: a power cut costs the last seconds, which then count as not covered.
 */
export class MeterStore {
  private writing: Promise<void> = Promise.resolve();
  private waiting = 0;
  private failing = false;

  constructor(
    private readonly directory: string,
    private readonly series: SeriesTable,
    private readonly log: (message: string) => void,
  ) {}

  /** Reads back what was recorded, oldest first; a line that was cut short is left out. Around a restart, two slots share a start. */
  async load(now: number): Promise<TimeSlot[]> {
    await mkdir(this.directory, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const slots: TimeSlot[] = [];
    let broken = 0;
    for (const file of await this.files()) {
      if (file.start < now - COARSE_KEPT_MS - FILE_MS) continue;
      for (const line of (await readFile(file.path, "utf8")).split("\n")) {
        if (line === "") continue;
        const slot = this.read(line);
        if (slot === undefined) broken++;
        else if (slot.start <= now && slot.start >= (slots[slots.length - 1]?.start ?? 0)) slots.push(slot);
      }
    }
    if (broken > 0) this.log(`the meter's records hold ${broken} lines that cannot be read: that time has no data`);
    return slots;
  }

  private read(line: string): TimeSlot | undefined {
    try {
      const { cells, ...span } = record.parse(JSON.parse(line));
      const read = cells.map(([key, release, bytes]) => {
        const cell = new Cell();
        const encoded = Buffer.from(bytes, "base64");
        addEncoded(encoded, 0, encoded.length, cell);
        const number = this.series.restore(key, release ?? undefined);
        this.series.seen(number, span.start);
        return [number, cell] as const;
      });
      return pack({ ...span, lengthMs: COARSE_MS }, read);
    } catch {
      return undefined;
    }
  }

  /** Appends a slot in the background, and removes files of before the time that is kept. */
  append(slot: TimeSlot): void {
    if (this.waiting >= MAX_WAITING) return;
    const cells = [...cellsOf(slot)].flatMap(({ series: number, start, end }) => {
      const series = this.series.get(number);
      const bytes = Buffer.from(slot.data.buffer, slot.data.byteOffset + start, end - start).toString("base64");
      return series === undefined ? [] : [[series.key, series.release ?? null, bytes]];
    });
    const { start, coveredMs, lost } = slot;
    // A line of its own also after one that was cut short by a crash.
    const line = `\n${JSON.stringify({ start, coveredMs, lost, cells })}\n`;
    this.waiting++;
    this.writing = this.writing
      .then(() => this.write(slot.start, line))
      .then(
        () => {
          this.failing = false;
        },
        (error: Error) => {
          if (!this.failing) this.log(`the meter's records can't be written: ${error.message}`);
          this.failing = true;
        },
      )
      .finally(() => {
        this.waiting--;
      });
  }

  private async write(start: number, line: string): Promise<void> {
    const hour = start - (start % FILE_MS);
    const file = await open(join(this.directory, `${hour}.ndjson`), "a", PRIVATE_FILE_MODE);
    try {
      await file.writeFile(line);
    } finally {
      await file.close();
    }
    for (const { path, start: old } of await this.files())
      if (old < start - COARSE_KEPT_MS - FILE_MS) await rm(path, { force: true });
  }

  private async files(): Promise<{ path: string; start: number }[]> {
    const names = (await readdir(this.directory)).filter((name) => FILE.test(name)).toSorted();
    return names.map((name) => ({ path: join(this.directory, name), start: Number(name.slice(0, 13)) }));
  }

  /** Makes the folder again where it was deleted or moved. @returns what was done, if anything */
  async restoreFiles(): Promise<string[]> {
    if ((await ifThere(stat(this.directory))) !== undefined) return [];
    await makeFolder(this.directory);
    return [
      `${this.directory} was deleted or moved, and is there again: the agent's next start knows no measurements of before`,
    ];
  }

  /** Waits until everything is written. */
  async flush(): Promise<void> {
    await this.writing;
  }
}
