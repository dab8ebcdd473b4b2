import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { DOWN_STATES, PROCESS_STATES, REASONS } from "../../../model/process/process-state";
import { codeOf } from "../../../model/types/errors";
import { PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE } from "../../support/files";

/** Beside the records of the processes; no process has an id that starts with a dot. */
const FOLDER = ".lives";
const SUFFIX = ".json";
/** Size that one write changes as a whole, in bytes: Linux writes a page or nothing of it when the writer is killed. */
const PAGE_BYTES = 4096;

const lastExit = z.strictObject({
  code: z.int().nullable(),
  signal: z.string().nullable(),
  /** Why code and signal are unknown, or who sent the signal. */
  reason: z.string().optional(),
  /** ISO 8601. */
  at: z.string(),
});
export type LastExit = z.output<typeof lastExit>;

/** Restarts and the last end, as far as they count for the next start. */
const restartHistory = z.strictObject({
  /** Why it is in its state. */
  reason: z.enum(REASONS).optional(),
  /** Restarts that count against its policy, oldest first. */
  history: z.array(z.number()).default([]),
  /** All restarts that nobody asked for. */
  restarts: z.int().default(0),
  /** When it is to be started again. */
  dueAt: z.number().optional(),
  lastExit: lastExit.optional(),
});

const processStateRecord = restartHistory.extend({
  state: z.enum(PROCESS_STATES),
  /** Since when it is in this state, in milliseconds since the epoch, as all times here. */
  since: z.number(),
  /** Whether its edge gives it no traffic, since it restarts. */
  offEdge: z.boolean().default(false),
  /** Its end, while it is under way. */
  leaving: z
    .strictObject({
      since: z.number(),
      reason: z.enum(REASONS),
      /** Whether it is to run again afterwards. */
      again: z.boolean(),
      /** Whether its quiet command has run, so that it takes no more work. */
      quieted: z.boolean(),
      /** Since when it finishes its work. */
      workSince: z.number().optional(),
    })
    .optional(),
  /** How it was down when the release of a higher generation began to start it: an undo of that puts it back. */
  down: restartHistory.extend({ state: z.enum(DOWN_STATES), startedBy: z.int() }).optional(),
});
/** State of a process beyond its present run. */
export type ProcessStateRecord = z.output<typeof processStateRecord>;

const stored = z.strictObject({ version: z.literal(1), id: z.string(), life: processStateRecord });

/**
 * Memory of processes that lets the next agent go on where this one stopped: one small file each. It is written at once
 * and not synced: it must survive the agent, not a power cut, after which every process starts afresh.
 */
export class ProcessStateStore {
  private failing = false;

  private constructor(
    private readonly directory: string,
    private readonly report: (message: string, data: Record<string, unknown>) => void,
  ) {}

  /** Opens the folder and reads what is there; a file that cannot be read is reported, and its process starts afresh. */
  static openIn(
    processes: string,
    report: (message: string, data: Record<string, unknown>) => void,
  ): { store: ProcessStateStore; states: Map<string, ProcessStateRecord> } {
    const directory = join(processes, FOLDER);
    mkdirSync(directory, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const states = new Map<string, ProcessStateRecord>();
    for (const file of readdirSync(directory)) {
      const path = join(directory, file);
      if (!file.endsWith(SUFFIX)) {
        rmSync(path, { force: true });
        continue;
      }
      try {
        const entry = stored.parse(JSON.parse(readFileSync(path, "utf8")));
        states.set(entry.id, entry.life);
      } catch (error) {
        report(`${path} cannot be read: the restarts of that process are counted afresh`, { problem: String(error) });
        rmSync(path, { force: true });
      }
    }
    return { store: new ProcessStateStore(directory, report), states };
  }

  /** A disk that is full costs the memory of restarts, not the restarts. It is said once. */
  write(id: string, entry: ProcessStateRecord): void {
    const path = this.pathOf(id);
    const temporary = `${path}.new`;
    const text = Buffer.from(JSON.stringify({ version: 1, id, life: entry }));
    try {
      if (!overwritten(path, text)) {
        writeFileSync(temporary, text, { mode: PRIVATE_FILE_MODE });
        renameSync(temporary, path);
      }
      this.failing = false;
    } catch (error) {
      // Half of it would fill the disk further.
      rmSync(temporary, { force: true });
      if (!this.failing)
        this.report(`what happens to processes cannot be noted in ${path}`, { problem: String(error) });
      this.failing = true;
    }
  }

  remove(id: string): void {
    rmSync(this.pathOf(id), { force: true });
  }

  private pathOf(id: string): string {
    return join(this.directory, `${id}${SUFFIX}`);
  }
}

/**
 * Writes over a file that is there by one write, with spaces where the text was longer before. A new file in its place would
 * take a hundred times as long, since file systems hurry to put one on the disk that takes another one's name.
 *
 * @returns whether it could
 */
function overwritten(path: string, text: Buffer): boolean {
  let file: number;
  try {
    file = openSync(path, "r+");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
  try {
    const { size } = fstatSync(file);
    if (Math.max(size, text.length) > PAGE_BYTES) return false;
    const whole = Buffer.alloc(Math.max(size, text.length), " ");
    text.copy(whole);
    return writeSync(file, whole, 0, whole.length, 0) === whole.length;
  } finally {
    closeSync(file);
  }
}
