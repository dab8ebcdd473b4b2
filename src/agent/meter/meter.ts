import { join } from "node:path";
import { SHADOW, type SliAnswer, type SliQuery } from "../../model/gate/sli";
import type { ShadowCount } from "../mirror/orders";
import { addTotals, exposition, noTotals, type Totals } from "./exposition";
import { Recorder } from "./recorder";
import type { ReleaseOf } from "./series";
import { MeterStore } from "./store";
import { Tail } from "./tail";

const TICK_MS = 500;

export interface MeterOptions {
  /** The agent's state folder. */
  directory: string;
  releaseOf: ReleaseOf;
  log: (message: string) => void;
  /** In milliseconds since the epoch. */
  now?: () => number;
}

/** Measures the requests of this host's edges from HAProxy's own log. Nothing waits for it: what it cannot take is lost, and counted. */
export class Meter {
  private readonly recorder: Recorder;
  /** By edge. */
  private readonly tails = new Map<string, Tail>();
  private readonly store: MeterStore;
  private readonly totals = new Map<number, Totals>();
  private readonly now: () => number;
  private timer: NodeJS.Timeout | undefined;

  constructor(options: MeterOptions) {
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
    this.store = new MeterStore(join(options.directory, "meter"), this.recorder.series, options.log);
  }

  /** Reads back what was recorded. */
  async start(): Promise<void> {
    this.recorder.restore(await this.store.load(this.now()));
    this.timer = setInterval(() => this.recorder.tick(this.now()), TICK_MS);
  }

  /**
   * Measures the requests of these edges, and of no others.
   *
   * @param edges by name: the path of the runtime API of its HAProxy, whether or not that runs
   */
  want(edges: Readonly<Record<string, string>>): void {
    for (const [edge, tail] of this.tails)
      if (edges[edge] === undefined) {
        tail.close();
        this.tails.delete(edge);
      }
    for (const [edge, socket] of Object.entries(edges)) {
      if (this.timer === undefined || this.tails.has(edge)) continue;
      const tail = new Tail({
        socket,
        now: this.now,
        batch: () => this.recorder.tick(this.now()),
        line: (line) => this.recorder.record(line),
        lost: (lines) => this.recorder.recordLost(edge, lines),
      });
      this.tails.set(edge, tail);
    }
  }

  /** Reads from the workers that serve an edge now: an edge's first lines must not wait where the next reload may follow at once. */
  async look(edge: string): Promise<void> {
    await this.tails.get(edge)?.poll();
  }

  /** Takes what was counted of a shadow's answers to the copies of a route's requests, where their edge is metered. */
  addShadow({ edge, route, cell }: ShadowCount): void {
    if (this.timer === undefined || !this.tails.has(edge)) return;
    this.recorder.tick(this.now());
    this.recorder.add(`${edge} ${route} ${SHADOW} ${SHADOW}`, cell);
  }

  query(query: SliQuery): SliAnswer {
    if (this.timer !== undefined) this.recorder.tick(this.now());
    return this.recorder.query(query);
  }

  /** The same for windows of a length in milliseconds, each to be called for. */
  history(query: SliQuery, ms: number): (() => SliAnswer)[] {
    if (this.timer !== undefined) this.recorder.tick(this.now());
    return this.recorder.history(query, ms);
  }

  /** Counters since the agent's start, in Prometheus' text format. */
  exposition(): string {
    const rows = [...this.recorder.series.all()].flatMap(([number, series]) => {
      const totals = this.totals.get(number);
      return totals === undefined ? [] : [[series, totals] as const];
    });
    return exposition(rows);
  }

  /** Makes its folder again, see {@link MeterStore.restoreFiles}. */
  restoreFiles(): Promise<string[]> {
    return this.store.restoreFiles();
  }

  /** Figures about the meter itself. */
  status() {
    const sum = (pick: (tail: Tail) => number) =>
      [...this.tails.values()].reduce((total, tail) => total + pick(tail), 0);
    return {
      connected: sum(({ connected }) => connected),
      lines: sum(({ lines }) => lines),
      malformed: sum(({ malformed }) => malformed),
      late: this.recorder.late,
      bytes: this.recorder.bytes,
    };
  }

  /** Stops taking lines, and writes what is open. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    this.timer = undefined;
    this.want({});
    this.recorder.closeAll();
    await this.store.flush();
  }
}
