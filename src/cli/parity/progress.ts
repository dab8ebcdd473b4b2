import { formatMilliseconds } from "../../model/types/duration";
import type { Terminal } from "../common/exit";

const BAR_WIDTH = 24;
const DRAW_EVERY_MS = 100;
const SAY_EVERY_MS = 10_000;

export interface Status {
  requests: number;
  problems: number;
  /** Share of the requests file that was read, 0 to 1; undefined where its size is not known. */
  done?: number | undefined;
}

/** A bar that is drawn over itself on a terminal, and else a line every ten seconds. */
export class Progress {
  private readonly started = performance.now();
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly stderr: Terminal["stderr"],
    private readonly status: () => Status,
  ) {
    this.timer = setInterval(() => this.show(), stderr.isTTY ? DRAW_EVERY_MS : SAY_EVERY_MS);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
    if (this.stderr.isTTY) this.stderr.write("\r\x1b[K");
  }

  private show(): void {
    const text = progressText(this.status(), performance.now() - this.started, this.stderr.isTTY === true);
    if (!this.stderr.isTTY) this.stderr.write(`${text}\n`);
    else this.stderr.write(`\r\x1b[K${text.slice(0, Math.max(20, (this.stderr.columns || 80) - 1))}`);
  }
}

/** Progress of a run, in one line. */
export function progressText({ requests, problems, done }: Status, elapsedMs: number, bar: boolean): string {
  const parts = [
    `${requests.toLocaleString("en-US")} requests`,
    `${Math.round(requests / Math.max(elapsedMs / 1000, 0.001)).toLocaleString("en-US")}/s`,
    `${problems.toLocaleString("en-US")} not equal`,
  ];
  if (done === undefined) return parts.join("  ");
  // Early estimates jump: none before a hundredth is done.
  if (done >= 0.01 && done < 1) parts.push(`${formatMilliseconds((elapsedMs / done) * (1 - done))} left`);
  const filled = Math.round(done * BAR_WIDTH);
  const drawn = bar ? `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] ` : "";
  return `${drawn}${Math.floor(done * 100)}%  ${parts.join("  ")}`;
}
