import type { DrainingServer } from "./runtime/server-assignments";

/** Pauses between two checks of leaving servers, in milliseconds: growing while nothing changes. */
const FIRST_MS = 100;
const CAP_MS = 2000;
const GROWTH = 1.5;

/** Looks after servers that leave until none is left: often at first, rarely in a long drain, and at each deadline. */
export class DrainLoop {
  private timer: NodeJS.Timeout | undefined;
  private pause = FIRST_MS;
  private left = 0;
  private run = 0;

  constructor(
    private readonly work: {
      /** Resolves with those that have not left yet. */
      step: () => Promise<DrainingServer[]>;
      failed: (error: unknown) => void;
    },
  ) {}

  start(): void {
    this.stop();
    this.pause = FIRST_MS;
    this.schedule(this.pause);
  }

  stop(): void {
    this.run += 1;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private schedule(ms: number): void {
    const run = this.run;
    this.timer = setTimeout(() => {
      void this.next(run);
    }, ms).unref();
  }

  private async next(run: number): Promise<void> {
    let pause = this.pause;
    try {
      const leaving = await this.work.step();
      if (leaving.length === 0) return;
      this.pause = leaving.length < this.left ? FIRST_MS : Math.min(this.pause * GROWTH, CAP_MS);
      this.left = leaving.length;
      const untilDeadline = Math.min(...leaving.map(({ deadline }) => deadline)) - Date.now();
      pause = untilDeadline > 0 ? Math.min(this.pause, untilDeadline) : this.pause;
    } catch (error) {
      this.work.failed(error);
    }
    if (run === this.run) this.schedule(pause);
  }
}
