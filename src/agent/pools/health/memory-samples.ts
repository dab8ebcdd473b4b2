import { memoryOf } from "../../processes/memory";
import type { SupervisionContext } from "../supervise/supervised-process";

/** Time for which a sample is good enough for whoever asks, in milliseconds: looking costs the kernel work. */
const FRESH_MS = 5000;

/** Memory of the pools' processes, each with its whole group. */
export class MemorySamples {
  private readonly samples = new Map<string, { bytes: number; at: number }>();

  constructor(private readonly host: Pick<SupervisionContext, "processes">) {}

  /**
   * Memory by id in bytes, of those that run.
   *
   * @param freshMs how old a sample may be, in milliseconds
   */
  async of(ids: readonly string[], freshMs = FRESH_MS): Promise<Map<string, number>> {
    const now = performance.now();
    const stale = ids.filter((id) => !((this.samples.get(id)?.at ?? Number.NEGATIVE_INFINITY) > now - freshMs));
    const groups = stale.flatMap((id) => {
      const { state, group } = this.host.processes.get(id) ?? {};
      return state === "running" && group !== undefined ? [[group, id] as const] : [];
    });
    if (groups.length > 0) {
      const found = await memoryOf(groups.map(([group]) => group));
      for (const [group, id] of groups) this.samples.set(id, { bytes: found.get(group) ?? 0, at: now });
    }
    for (const id of this.samples.keys()) if (this.host.processes.get(id) === undefined) this.samples.delete(id);
    return new Map(
      ids.flatMap((id) => {
        const sample = this.samples.get(id);
        return sample === undefined || this.host.processes.get(id)?.state !== "running" ? [] : [[id, sample.bytes]];
      }),
    );
  }

  /** A new process has another memory than the one before it. */
  forget(id: string): void {
    this.samples.delete(id);
  }
}
