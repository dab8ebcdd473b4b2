import type { Cleanup } from "../../test/support/agent";

type Work = () => unknown;

/** Cleanups of a benchmark, run at its end and also when it fails: the newest first, each whatever the others do. */
export class Scope implements Cleanup {
  private readonly works: Work[] = [];

  after(work: Work): void {
    this.works.push(work);
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const work of this.works.splice(0).reverse()) {
      try {
        await work();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0)
      throw new AggregateError(failures, `cleaning up failed: ${failures.map(String).join("; ")}`);
  }
}
