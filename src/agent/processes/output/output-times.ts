import { statSync } from "node:fs";
import { codeOf } from "../../../model/types/errors";
import { Rotations } from "./rotations";

/** Pause between two samples of the sizes, in milliseconds. */
const SAMPLE_MS = 2000;
/** Looks that are remembered per file; of more, each other one of the older half is forgotten. */
const MOST_SAMPLES = 1024;
/** Turns of a file that are remembered: more than are kept. */
const MOST_TURNS = 24;

interface SizeSample {
  at: number;
  size: number;
}

/**
 * When the bytes of output files were written, to within two seconds: apps write to their files by themselves. Bytes are those
 * of a file in one of its turns (see {@link Rotations}).
 */
export class OutputTimes {
  private readonly samples = new Map<string, Map<number, SizeSample[]>>();
  private readonly timer: NodeJS.Timeout;

  /** @param files paths of the output files that are there now */
  constructor(
    private readonly files: () => string[],
    private readonly rotations: Rotations = new Rotations(),
    private readonly now: () => number = Date.now,
  ) {
    this.timer = setInterval(() => this.look(), SAMPLE_MS).unref();
  }

  look(): void {
    const files = new Set(this.files());
    for (const path of this.samples.keys()) if (!files.has(path)) this.samples.delete(path);
    for (const path of files) this.sample(path);
  }

  /** Up to which byte a file had been written at a time; undefined if that is not known. */
  sizeAt(path: string, turn: number, time: number): number | undefined {
    return this.samples
      .get(path)
      ?.get(turn)
      ?.findLast(({ at }) => at <= time)?.size;
  }

  /** By when a byte of a file had been written; undefined if that is not known. */
  writtenBy(path: string, turn: number, byte: number): number | undefined {
    const [first, ...later] = this.samples.get(path)?.get(turn) ?? [];
    if (first === undefined || byte < first.size) return undefined;
    // A byte was written between the last sample before it and the first one after it.
    return (
      later.find(({ size }) => size > byte)?.at ??
      this.samples
        .get(path)
        ?.get(turn + 1)
        ?.at(0)?.at
    );
  }

  close(): void {
    clearInterval(this.timer);
  }

  private sample(path: string): void {
    const size = sizeOf(path);
    const turn = this.rotations.turnNow(path);
    const turns = this.samples.get(path) ?? new Map<number, SizeSample[]>();
    this.samples.set(path, turns);
    turns.delete(turn - MOST_TURNS);
    const known = turns.get(turn);
    const last = known?.at(-1);
    // An output that begins under this agent is timed from its first byte on.
    if (known === undefined && turn > 0)
      turns.set(turn, [{ at: this.now(), size: 0 }, ...(size > 0 ? [{ at: this.now(), size }] : [])]);
    // A file that has become shorter is another one, or was begun afresh.
    else if (known === undefined || last === undefined || size < last.size) turns.set(turn, [{ at: this.now(), size }]);
    else if (size > last.size) known.push({ at: this.now(), size });
    if (known !== undefined && known.length > MOST_SAMPLES)
      turns.set(
        turn,
        known.filter((_, index) => index % 2 === 0 || index > known.length / 2),
      );
  }
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return 0;
    throw error;
  }
}
