import { statSync } from "node:fs";
import { codeOf } from "./identity";
import { Rotations } from "./rotations";

/** Between two looks at the sizes, in milliseconds. */
const LOOK_MS = 2000;
/** Looks that are remembered per file; of more, each other one of the older half is forgotten. */
const MOST_LOOKS = 1024;
/** Turns of a file that are remembered: more than are kept. */
const MOST_TURNS = 24;

interface Look {
  at: number;
  size: number;
}

/**
 * When the bytes of output files were written, to within two seconds: apps write to their files by themselves. Bytes are those
 * of a file in one of its turns (see {@link Rotations}).
 */
export class OutputTimes {
  private readonly looks = new Map<string, Map<number, Look[]>>();
  private readonly timer: NodeJS.Timeout;

  /** @param files paths of the output files that are there now */
  constructor(
    private readonly files: () => string[],
    private readonly rotations: Rotations = new Rotations(),
    private readonly now: () => number = Date.now,
  ) {
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  look(): void {
    const files = new Set(this.files());
    for (const path of this.looks.keys()) if (!files.has(path)) this.looks.delete(path);
    for (const path of files) this.lookAt(path);
  }

  /** Up to which byte a file had been written at a time; nothing where that is not known. */
  sizeAt(path: string, turn: number, time: number): number | undefined {
    return this.looks
      .get(path)
      ?.get(turn)
      ?.findLast(({ at }) => at <= time)?.size;
  }

  /** By when a byte of a file had been written; nothing where that is not known. */
  writtenBy(path: string, turn: number, byte: number): number | undefined {
    const [first, ...later] = this.looks.get(path)?.get(turn) ?? [];
    if (first === undefined || byte < first.size) return undefined;
    // What was written since the last look of its turn, was until the first one of the next.
    return (
      later.find(({ size }) => size > byte)?.at ??
      this.looks
        .get(path)
        ?.get(turn + 1)
        ?.at(0)?.at
    );
  }

  close(): void {
    clearInterval(this.timer);
  }

  private lookAt(path: string): void {
    const size = sizeOf(path);
    const turn = this.rotations.turnNow(path);
    const turns = this.looks.get(path) ?? new Map<number, Look[]>();
    this.looks.set(path, turns);
    turns.delete(turn - MOST_TURNS);
    const known = turns.get(turn);
    const last = known?.at(-1);
    // What begins in the sight of this agent is known from its first byte on.
    if (known === undefined && turn > 0)
      turns.set(turn, [{ at: this.now(), size: 0 }, ...(size > 0 ? [{ at: this.now(), size }] : [])]);
    // A file that has become shorter is another one, or was begun afresh.
    else if (known === undefined || last === undefined || size < last.size) turns.set(turn, [{ at: this.now(), size }]);
    else if (size > last.size) known.push({ at: this.now(), size });
    if (known !== undefined && known.length > MOST_LOOKS)
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
