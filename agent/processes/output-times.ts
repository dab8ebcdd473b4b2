import { statSync } from "node:fs";
import { codeOf } from "./identity";

/** Between two looks at the sizes, in milliseconds. */
const LOOK_MS = 2000;
/** Looks that are remembered per file; of more, each other one of the older half is forgotten. */
const MOST_LOOKS = 1024;

interface Look {
  at: number;
  size: number;
}

/** When the bytes of output files were written, to within two seconds: apps write to their files by themselves. */
export class OutputTimes {
  private readonly looks = new Map<string, Look[]>();
  private readonly timer: NodeJS.Timeout;

  /** @param files paths of the output files that are there now */
  constructor(
    private readonly files: () => string[],
    private readonly now: () => number = Date.now,
  ) {
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  look(): void {
    const files = new Set(this.files());
    for (const path of this.looks.keys()) if (!files.has(path)) this.looks.delete(path);
    for (const path of files) this.lookAt(path);
  }

  /** Up to which byte a file had been written at a time; 0 where that is not known. */
  sizeAt(path: string, time: number): number {
    return this.looks.get(path)?.findLast(({ at }) => at <= time)?.size ?? 0;
  }

  /** By when a byte of a file had been written; nothing where that is not known. */
  writtenBy(path: string, byte: number): number | undefined {
    const [first, ...later] = this.looks.get(path) ?? [];
    if (first === undefined || byte < first.size) return undefined;
    return later.find(({ size }) => size > byte)?.at;
  }

  close(): void {
    clearInterval(this.timer);
  }

  private lookAt(path: string): void {
    const size = sizeOf(path);
    const known = this.looks.get(path);
    const last = known?.at(-1);
    // A file that has become shorter is another one, or was begun afresh.
    if (known === undefined || last === undefined || size < last.size) this.looks.set(path, [{ at: this.now(), size }]);
    else if (size > last.size) known.push({ at: this.now(), size });
    if (known !== undefined && known.length > MOST_LOOKS)
      this.looks.set(
        path,
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
