import { addEncoded, type Cell, encodeCell, MAX_CELL } from "./cell";

/** Everything that was counted in a span of time, in few bytes. */
export interface TimeSlot {
  /** In milliseconds since the epoch. */
  start: number;
  lengthMs: number;
  /** Time of it for which the meter ran, in milliseconds. */
  coveredMs: number;
  /** Lines that did not reach the meter, by edge. */
  lost: Record<string, number>;
  /** Cells: number of the series, length, and the cell's bytes. */
  data: Uint8Array;
}

const HEADER = 8;
let scratch = new Uint8Array(1024 * 1024);

/** Packs the cells of a span by the numbers of their series. */
export function pack(span: Omit<TimeSlot, "data">, cells: Iterable<readonly [series: number, cell: Cell]>): TimeSlot {
  let at = 0;
  for (const [series, cell] of cells) {
    if (scratch.length < at + HEADER + MAX_CELL) {
      const larger = new Uint8Array((at + HEADER + MAX_CELL) * 2);
      larger.set(scratch);
      scratch = larger;
    }
    const end = encodeCell(cell, scratch, at + HEADER);
    const view = new DataView(scratch.buffer);
    view.setUint32(at, series, true);
    view.setUint32(at + 4, end - at - HEADER, true);
    at = end;
  }
  return { ...span, data: scratch.slice(0, at) };
}

/** The encoded cells of a slot. */
export function* cellsOf({ data }: TimeSlot): Generator<{ series: number; start: number; end: number }> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 0; at < data.length; ) {
    const start = at + HEADER;
    const end = start + view.getUint32(at + 4, true);
    yield { series: view.getUint32(at, true), start, end };
    at = end;
  }
}

/** Adds the cells of a slot whose series has a place to go to. */
export function addSlot(slot: TimeSlot, placeOf: (series: number) => Cell | undefined): void {
  for (const { series, start, end } of cellsOf(slot)) {
    const cell = placeOf(series);
    if (cell !== undefined) addEncoded(slot.data, start, end, cell);
  }
}

/** Memory that a slot takes, roughly, in bytes. */
export function sizeOf({ data }: TimeSlot): number {
  return data.length + 200;
}
