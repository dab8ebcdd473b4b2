import type { SliAnswer, SliQuery } from "../../model/gate/sli";
import { addEncoded, Cell, sparse } from "./cell";
import type { Line } from "./line";
import { type ReleaseOf, SeriesTable } from "./series";
import { addSlot, pack, sizeOf, type TimeSlot } from "./time-slot";

/** Length of a fine slot, and how long it is kept, in milliseconds. */
const FINE_MS = 1000;
const FINE_KEPT_MS = 10 * 60_000;
/** Length of a coarse slot, and how long it is kept, in milliseconds: a day, and room for "the last 24 hours" to be asked late. */
export const COARSE_MS = 10_000;
export const COARSE_KEPT_MS = 26 * 3_600_000;
/** Time that a second stays open for lines that come late, in milliseconds. */
const GRACE_MS = 2000;
/** Memory of all coarse slots at most, in bytes; beyond it the oldest are dropped. */
const BUDGET_BYTES = 64 * 1024 * 1024;
/** Longest age of unread lines, in milliseconds, unless the agent has no time. */
const UNREAD_MS = 1000;
/** Longest pause between two ticks for which the meter still counts as running, in milliseconds. HAProxy keeps lines meanwhile. */
const MAX_PAUSE_MS = 5000;

/** Cells that are kept for the next slot. */
const SPARE_CELLS = 64;

interface OpenSlot {
  start: number;
  cells: Map<number, Cell>;
  lost: Record<string, number>;
  covered: boolean;
}

export interface RecorderOptions {
  releaseOf: ReleaseOf;
  /** Called with each coarse slot that is complete. */
  onCoarse?: (slot: TimeSlot) => void;
  /** Called with each series of a fine slot that is complete. */
  onCell?: (series: number, cell: Cell) => void;
  onForgotten?: (series: number[]) => void;
}

/** Counts requests in slots of time: fine ones for a while, coarse ones for a day. Its memory is bounded, whatever comes. */
export class Recorder {
  readonly series: SeriesTable;
  private readonly fine: TimeSlot[] = [];
  private readonly coarse: TimeSlot[] = [];
  private coarseBytes = 0;
  /** Whether there was nothing before the fine slots, since the meter has just begun. */
  private fineIsAll = true;
  /** The seconds that still take lines, oldest first; at least one. */
  private readonly open: OpenSlot[] = [];
  private readonly spare: Cell[] = [];
  private rolledUpTo = 0;
  private lastTick: number;
  private current: OpenSlot;
  /** Lines that came after their second was closed, and are counted in a later one. */
  late = 0;

  constructor(
    now: number,
    private readonly options: RecorderOptions,
  ) {
    this.series = new SeriesTable(options.releaseOf);
    this.lastTick = now;
    // The second in which the meter starts is not covered as a whole.
    this.current = { start: floor(now, FINE_MS), cells: new Map(), lost: {}, covered: false };
    this.open.push(this.current);
  }

  /** Takes slots that were recorded before, oldest first. */
  restore(slots: TimeSlot[]): void {
    for (const slot of slots) this.keepCoarse(slot);
    if (slots.length > 0) this.fineIsAll = false;
  }

  record(line: Line): void {
    const second = floor(line.at, FINE_MS);
    if (second !== this.current.start) this.current = this.slotFor(second);
    let number = this.series.numberOf(line.key);
    let cell = this.current.cells.get(number);
    if (cell === undefined) {
      number = this.series.look(line.key);
      cell = this.current.cells.get(number);
    }
    if (cell === undefined) {
      cell = this.spare.pop() ?? new Cell();
      this.current.cells.set(number, cell);
      this.series.seen(number, Number.POSITIVE_INFINITY);
    }
    cell.record(line);
  }

  /** Adds what somebody else has counted since a moment ago, as {@link encodeCell} writes it. */
  add(key: string, encoded: Uint8Array): void {
    const { cells } = this.open[this.open.length - 1] ?? this.current;
    const number = this.series.look(key);
    const cell = cells.get(number) ?? this.spare.pop() ?? new Cell();
    cells.set(number, cell);
    this.series.seen(number, Number.POSITIVE_INFINITY);
    addEncoded(encoded, 0, encoded.length, cell);
  }

  /** Notes lines of an edge that HAProxy could not deliver. */
  recordLost(edge: string, lines: number): void {
    const slot = this.open[this.open.length - 1] ?? this.current;
    slot.lost[edge] = (slot.lost[edge] ?? 0) + lines;
  }

  private slotFor(second: number): OpenSlot {
    const oldest = this.open[0] as OpenSlot;
    if (second < oldest.start) {
      this.late++;
      return oldest;
    }
    const newest = this.open[this.open.length - 1] as OpenSlot;
    // Clocks do not differ on one host; but a line from far in the future must not open slots up to there.
    return this.open.find(({ start }) => start === second) ?? newest;
  }

  /** Opens and closes seconds, as time goes on: to be called about once per second, and before each batch of lines. */
  tick(now: number): void {
    const stood = now - this.lastTick > MAX_PAUSE_MS;
    if (now < this.lastTick - GRACE_MS || now - this.lastTick > FINE_KEPT_MS) {
      this.jump(now);
      return;
    }
    this.lastTick = Math.max(now, this.lastTick);
    const last = floor(now, FINE_MS);
    let newest = this.open[this.open.length - 1] as OpenSlot;
    while (newest.start < last) {
      newest = { start: newest.start + FINE_MS, cells: new Map(), lost: {}, covered: !stood };
      this.open.push(newest);
    }
    while (this.open.length > 1 && (this.open[0] as OpenSlot).start + FINE_MS + GRACE_MS <= now) this.closeOldest();
    if (!this.open.includes(this.current)) this.current = this.open[0] as OpenSlot;
  }

  /** Closes the open slots and starts anew, after the clock was set or the host slept. */
  private jump(now: number): void {
    this.closeAll();
    this.lastTick = now;
    const start = floor(now, FINE_MS);
    this.rolledUpTo = start;
    for (const slots of [this.fine, this.coarse]) {
      const keep = slots.filter((slot) => slot.start < start);
      slots.splice(0, slots.length, ...keep);
    }
    this.current = { start, cells: new Map(), lost: {}, covered: false };
    this.open.push(this.current);
  }

  /** Closes what is open, for the end of the agent: of the last second, not all lines were read. */
  closeAll(): void {
    for (const slot of this.open) if (slot.start + FINE_MS > this.lastTick - UNREAD_MS) slot.covered = false;
    while (this.open.length > 0) this.closeOldest();
    this.rollUp(Number.POSITIVE_INFINITY);
  }

  private closeOldest(): void {
    const slot = this.open.shift() as OpenSlot;
    for (const [number, cell] of slot.cells) {
      this.series.seen(number, slot.start);
      this.options.onCell?.(number, cell);
    }
    const span = { start: slot.start, lengthMs: FINE_MS, coveredMs: slot.covered ? FINE_MS : 0, lost: slot.lost };
    this.fine.push(pack(span, slot.cells));
    this.recycle(slot.cells);
    if ((slot.start + FINE_MS) % COARSE_MS === 0) this.rollUp(slot.start + FINE_MS);
    while ((this.fine[0]?.start ?? slot.start) < slot.start - FINE_KEPT_MS) {
      this.fine.shift();
      this.fineIsAll = false;
    }
  }

  private recycle(cells: Map<number, Cell>): void {
    for (const cell of cells.values()) {
      if (this.spare.length >= SPARE_CELLS) return;
      cell.clear();
      this.spare.push(cell);
    }
  }

  /** Makes a coarse slot of the fine ones before a time that are in none yet. */
  private rollUp(end: number): void {
    const parts = this.fine.filter(({ start }) => start >= this.rolledUpTo && start < end);
    const [first, last] = [parts[0], parts[parts.length - 1]];
    if (first === undefined || last === undefined) return;
    this.rolledUpTo = last.start + FINE_MS;
    const cells = new Map<number, Cell>();
    const lost: Record<string, number> = {};
    for (const part of parts) {
      addSlot(part, (number) => {
        const cell = cells.get(number) ?? this.spare.pop() ?? new Cell();
        cells.set(number, cell);
        return cell;
      });
      for (const [edge, lines] of Object.entries(part.lost)) lost[edge] = (lost[edge] ?? 0) + lines;
    }
    const coveredMs = parts.reduce((sum, part) => sum + part.coveredMs, 0);
    const slot = pack({ start: floor(first.start, COARSE_MS), lengthMs: COARSE_MS, coveredMs, lost }, cells);
    this.recycle(cells);
    this.keepCoarse(slot);
    this.options.onCoarse?.(slot);
  }

  private keepCoarse(slot: TimeSlot): void {
    this.coarse.push(slot);
    this.coarseBytes += sizeOf(slot);
    const oldest = slot.start - COARSE_KEPT_MS;
    while (this.coarse.length > 1 && (this.coarseBytes > BUDGET_BYTES || (this.coarse[0] as TimeSlot).start < oldest))
      this.coarseBytes -= sizeOf(this.coarse.shift() as TimeSlot);
    const gone = this.series.forgetBefore(
      Math.min((this.coarse[0] as TimeSlot).start, this.fine[0]?.start ?? slot.start),
    );
    if (gone.length > 0) this.options.onForgotten?.(gone);
  }

  /**
   * Counts in a window, up to the last second that is complete. The start of an old window is moved to the next coarse
   * slot; the answer says from when to when it is.
   */
  query({ from, to, ...selector }: SliQuery): SliAnswer {
    const { slots, since, until } = this.slotsWithin(from, to);
    return sumOf(slots, this.series.matching(selector), { edge: selector.edge, from: since, to: until });
  }

  /**
   * Counts in consecutive windows of one length, as far as they are complete. To sum up a day takes long: each window
   * is computed when it is called for, so that the caller can do other things in between.
   */
  history({ from, to, ...selector }: SliQuery, ms: number): (() => SliAnswer)[] {
    const wanted = this.series.matching(selector);
    const { slots, until } = this.slotsWithin(from, to);
    const windows: (() => SliAnswer)[] = [];
    let next = 0;
    for (let start = from; start + ms <= until; start += ms) {
      const first = next;
      while ((slots[next]?.start ?? until) < start + ms) next++;
      const [within, window] = [slots.slice(first, next), { edge: selector.edge, from: start, to: start + ms }];
      windows.push(() => sumOf(within, wanted, window));
    }
    return windows;
  }

  private slotsWithin(from: number, to: number): { slots: TimeSlot[]; since: number; until: number } {
    const until = Math.min(floor(to, FINE_MS), this.open[0]?.start ?? this.rolledUpTo);
    const fineStart = this.fine[0]?.start ?? until;
    // Coarse slots reach up to here where fine ones do not reach back far enough.
    const seam = from >= fineStart || this.fineIsAll ? 0 : Math.ceil(fineStart / COARSE_MS) * COARSE_MS;
    const unit = seam === 0 ? FINE_MS : COARSE_MS;
    const since = Math.ceil(from / unit) * unit;
    const coarse = this.coarse.filter(({ start }) => start >= since && start < Math.min(seam, floor(until, COARSE_MS)));
    const fine = this.fine.filter(({ start }) => start >= Math.max(since, seam) && start < until);
    return { slots: [...coarse, ...fine], since, until: Math.max(since, until) };
  }

  /** Memory that the slots take, roughly, in bytes. */
  get bytes(): number {
    return this.coarseBytes + this.fine.reduce((sum, slot) => sum + sizeOf(slot), 0);
  }
}

function sumOf(
  slots: readonly TimeSlot[],
  wanted: ReadonlySet<number>,
  { edge, from, to }: { edge: string; from: number; to: number },
): SliAnswer {
  const sum = new Cell();
  let [coveredMs, lost] = [0, 0];
  for (const slot of slots) {
    addSlot(slot, (number) => (wanted.has(number) ? sum : undefined));
    coveredMs += slot.coveredMs;
    lost += slot.lost[edge] ?? 0;
  }
  const [counts, head, total, waited] = [sum.toCounts(), sparse(sum.head), sparse(sum.total), sparse(sum.waited)];
  return { from, to, coveredMs, lost, counts, head, total, waited };
}

function floor(at: number, to: number): number {
  return at - (at % to);
}
