/** Rotations of a file that are remembered; whoever reads has fallen behind by fewer. */
const REMEMBERED = 64;

interface RotationTurns {
  /** Number of rotations so far, which identifies the current content. */
  turn: number;
  /** From which byte on what the file held in a turn was kept, by turn. */
  starts: Map<number, number>;
  under: Promise<void> | undefined;
}

/**
 * The rotations of output files, as those who read them must know: `path` holds what it does in turn n, `path.1` the end of what it
 * held in turn n - 1, and so on.
 */
export class Rotations {
  private readonly files = new Map<string, RotationTurns>();

  /**
   * Runs a rotation, of which nobody reads meanwhile. It gives the byte from which on the file was kept; undefined if
   * it was left.
   */
  async during(path: string, work: () => Promise<number | undefined>): Promise<void> {
    const turns = this.of(path);
    let done: () => void = () => undefined;
    turns.under = new Promise((resolve) => {
      done = resolve;
    });
    try {
      const start = await work();
      if (start === undefined) return;
      turns.starts.set(turns.turn, start);
      turns.starts.delete(turns.turn - REMEMBERED);
      turns.turn += 1;
    } finally {
      turns.under = undefined;
      done();
    }
  }

  /** Turn of a file, once no rotation is under way. */
  async turn(path: string): Promise<number> {
    for (let turns = this.files.get(path); turns?.under !== undefined; turns = this.files.get(path)) await turns.under;
    return this.files.get(path)?.turn ?? 0;
  }

  /** Whether a file still holds what it did in a turn, and will for now. */
  isNow(path: string, turn: number): boolean {
    const turns = this.files.get(path);
    return turns === undefined ? turn === 0 : turns.turn === turn && turns.under === undefined;
  }

  /** From which byte on what a file held in a turn was kept; 0 for what this agent has not rotated. */
  startOf(path: string, turn: number): number {
    return this.files.get(path)?.starts.get(turn) ?? 0;
  }

  /** Turn of a file at this moment. */
  turnNow(path: string): number {
    return this.files.get(path)?.turn ?? 0;
  }

  forget(path: string): void {
    this.files.delete(path);
  }

  private of(path: string): RotationTurns {
    const known = this.files.get(path) ?? { turn: 0, starts: new Map<number, number>(), under: undefined };
    this.files.set(path, known);
    return known;
  }
}
