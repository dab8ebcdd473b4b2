import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SliAnswer, SliQuery } from "../../model/sli";
import { groupId, workerSocket } from "../worker-socket";
import { addTotals, exposition, noTotals, type Totals } from "./exposition";
import { Receiver } from "./receiver";
import { Recorder } from "./recorder";
import type { ReleaseOf } from "./series";
import { MeterStore } from "./store";

const TICK_MS = 500;

export interface MeterOptions {
  /** The agent's state folder. */
  directory: string;
  /** Group of HAProxy's workers, where they run under another account. */
  group: string | undefined;
  releaseOf: ReleaseOf;
  log: (message: string) => void;
  /** In milliseconds since the epoch. */
  now?: () => number;
}

/** Path at which HAProxy reaches the meter. */
export function meterSocket(directory: string, group: string | undefined): string {
  return workerSocket(directory, group, "meter.sock");
}

/** Measures the requests of this host's edges from HAProxy's own log. Nothing waits for it: what it cannot take is lost, and counted. */
export class Meter {
  private readonly recorder: Recorder;
  private readonly receiver: Receiver;
  private readonly store: MeterStore;
  private readonly totals = new Map<number, Totals>();
  private readonly now: () => number;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: MeterOptions) {
    this.now = options.now ?? Date.now;
    this.recorder = new Recorder(this.now(), {
      releaseOf: options.releaseOf,
      onCoarse: (slot) => this.store.append(slot),
      onCell: (series, cell) => {
        const totals = this.totals.get(series) ?? noTotals();
        this.totals.set(series, totals);
        addTotals(totals, cell);
      },
      onForgotten: (series) => {
        for (const number of series) this.totals.delete(number);
      },
    });
    this.receiver = new Receiver(this.recorder, this.now);
    this.store = new MeterStore(join(options.directory, "meter"), this.recorder.series, options.log);
  }

  /** Reads back what was recorded, and listens. */
  async start(): Promise<void> {
    this.recorder.restore(await this.store.load(this.now()));
    const { directory, group } = this.options;
    await this.receiver.listen(meterSocket(directory, group), group === undefined ? undefined : groupId(group));
    this.timer = setInterval(() => this.recorder.tick(this.now()), TICK_MS);
  }

  query(query: SliQuery): SliAnswer {
    if (this.timer !== undefined) this.recorder.tick(this.now());
    return this.recorder.query(query);
  }

  /** Counters since the agent's start, in Prometheus' text format. */
  exposition(): string {
    const rows = [...this.recorder.series.all()].flatMap(([number, series]) => {
      const totals = this.totals.get(number);
      return totals === undefined ? [] : [[series, totals] as const];
    });
    return exposition(rows);
  }

  /** Figures about the meter itself. */
  status() {
    const { connected, lines, malformed } = this.receiver;
    return { connected, lines, malformed, late: this.recorder.late, bytes: this.recorder.bytes };
  }

  /** Stops taking lines, and writes what is open. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    this.timer = undefined;
    this.receiver.close();
    const { directory, group } = this.options;
    if (group !== undefined) await rm(dirname(meterSocket(directory, group)), { recursive: true, force: true });
    this.recorder.closeAll();
    await this.store.flush();
  }
}
