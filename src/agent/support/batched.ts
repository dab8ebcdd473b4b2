import { Mutex } from "../../support/waiting";

/** One of the calls that a run serves. */
export interface Call<T, R> {
  value: T;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

/** Work whose cost is that of a run, as a write to disk: calls that come during a run share the next one. */
export class Batched<T, R> {
  private waiting: Call<T, R>[] = [];
  private readonly runs = new Mutex();

  /**
   * @param work settles each of its calls, of which there is at least one; those that are open when it throws get its error
   * @param joining resolves once calls have had the time to join a run, told how many there are. @default at once
   */
  constructor(
    private readonly work: (calls: readonly Call<T, R>[]) => Promise<void>,
    private readonly joining?: (count: () => number) => Promise<unknown>,
  ) {}

  call(value: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ value, resolve, reject });
      void this.runs.run(() => this.runAll());
    });
  }

  /** Does something else while no run is under way. */
  between(work: () => Promise<void>): Promise<void> {
    return this.runs.run(work);
  }

  private async runAll(): Promise<void> {
    if (this.waiting.length === 0) return;
    await this.joining?.(() => this.waiting.length);
    const calls = this.waiting.splice(0);
    try {
      await this.work(calls);
    } catch (error) {
      for (const { reject } of calls) reject(error);
    }
  }
}
