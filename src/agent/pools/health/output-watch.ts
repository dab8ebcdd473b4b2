import { statSync } from "node:fs";
import type { Output } from "../../../model/process/supervision";
import { messageOf } from "../../../model/types/errors";
import { bytes } from "../../../model/types/size";
import { type OutputLimits, rotate } from "../../processes/output/rotation";
import type { SupervisionContext } from "../supervise/supervised-process";

/**
 * Pause between two checks of the sizes of all outputs, in milliseconds: what a flood writes meanwhile is above the
 * bound.
 */
const CHECK_MS = 250;
/** Limits without a declaration: of an edge's HAProxy, commands beside processes, processes that leave. */
const DEFAULT: OutputLimits = { maxBytes: 8 * 1024 * 1024, keep: 1 };

function limitsOf(output: Output | undefined): OutputLimits {
  return output === undefined ? DEFAULT : { maxBytes: bytes(output.maxSize), keep: output.keep };
}

/** Keeps the output of all processes within its bounds. */
export class OutputWatch {
  private timer: NodeJS.Timeout | undefined;
  private checking = false;
  private failing = false;

  constructor(
    private readonly host: Pick<SupervisionContext, "processes" | "events">,
    private readonly outputOf: (id: string) => Output | undefined,
  ) {}

  start(): void {
    this.timer = setInterval(() => void this.check(), CHECK_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  private async check(): Promise<void> {
    if (this.checking) return;
    this.checking = true;
    const { processes, events } = this.host;
    try {
      let largest = DEFAULT.maxBytes;
      for (const { id, state } of processes.list()) {
        if (state === "exited") continue;
        const path = processes.outputPath(id);
        const limits = limitsOf(this.outputOf(id));
        largest = Math.max(largest, limits.maxBytes);
        // Synchronous: by way of the thread pool, so many looks would cost a multiple.
        const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
        if (size >= limits.maxBytes) await processes.rotations.during(path, () => rotate(path, limits));
      }
      processes.boundOutputs(largest);
      this.failing = false;
    } catch (error) {
      if (!this.failing) events.emit(`output can't be rotated: ${messageOf(error)}`);
      this.failing = true;
    } finally {
      this.checking = false;
    }
  }
}
