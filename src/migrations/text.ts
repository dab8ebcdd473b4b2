const ASCII = /^[\0-\x7f]*$/;
const EXCERPT = 160;

/** A text whose places are known in bytes, in UTF-16 units, and in lines and columns. */
export class SourceText {
  private readonly ascii: boolean;
  private units: Uint32Array | undefined;
  private lineStarts: number[] | undefined;

  constructor(readonly text: string) {
    this.ascii = ASCII.test(text);
  }

  part(from: number, to: number): SourceText {
    return new SourceText(this.text.slice(from, to));
  }

  /** The place in UTF-16 units of one in bytes of UTF-8. */
  unitOfByte(byte: number): number {
    if (this.ascii) return Math.min(byte, this.text.length);
    this.units ??= unitsByByte(this.text);
    return this.units[byte] ?? this.text.length;
  }

  /** The place in UTF-16 units of one in code points. */
  unitOfCodePoint(count: number): number {
    if (this.ascii) return Math.min(count, this.text.length);
    let unit = 0;
    for (let left = count; left > 0 && unit < this.text.length; left--)
      unit += (this.text.codePointAt(unit) ?? 0) > 0xffff ? 2 : 1;
    return unit;
  }

  /** Line and column of a place in UTF-16 units, both from 1. */
  position(unit: number): { line: number; column: number } {
    this.lineStarts ??= lineStartsOf(this.text);
    let low = 0;
    let high = this.lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.lineStarts[middle] ?? 0) <= unit) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: unit - (this.lineStarts[low] ?? 0) + 1 };
  }
}

/** The beginning of a statement on one line. */
export function excerpt(text: string): string {
  const line = text
    .slice(0, EXCERPT * 4)
    .replace(/\s+/g, " ")
    .trim();
  return line.length > EXCERPT ? `${line.slice(0, EXCERPT - 1).trimEnd()}…` : line;
}

function unitsByByte(text: string): Uint32Array {
  const units = new Uint32Array(text.length * 3 + 1);
  let byte = 0;
  for (let unit = 0; unit < text.length; unit++) {
    const code = text.codePointAt(unit) ?? 0;
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    units.fill(unit, byte, byte + size);
    byte += size;
    if (code > 0xffff) unit++;
  }
  units.fill(text.length, byte);
  return units;
}

function lineStartsOf(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
