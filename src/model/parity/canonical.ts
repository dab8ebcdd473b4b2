import { type Json, JsonError, MAX_DEPTH } from "./json";

/** Most decimals that can be compared: a double has 15 significant digits. */
export const MAX_PRECISION = 15;

/** Whole doubles below this are exact. */
const EXACT = 2 ** 53;

/**
 * How far from the middle between two roundings a number still counts as on it, relative to itself: what arithmetic on
 * doubles leaves behind, so that 0.5 and 0.49999999999999994 round alike.
 */
const NOISE = 2 ** -50;

/**
 * Writes values as texts that are the same exactly when the values are equal in parity's sense: floats rounded (half away
 * from zero) to a number of decimals, 1 and 1.0 and -0 and 0 alike, whole numbers exact at any size, the order of an
 * object's keys without meaning, the order of a list's items kept, and no text ever a number.
 */
export class Canonical {
  private readonly scale: number;
  /** Rows have the same keys one after the other: the last order that was sorted, by depth. */
  private readonly shapes: { keys: string[]; sorted: string[] }[] = [];

  constructor(precision: number) {
    this.scale = 10 ** precision;
  }

  /** @throws JsonError where the value nests deeper than {@link MAX_DEPTH}, or holds a number beyond a double's range */
  text(value: Json, depth = 0): string {
    switch (typeof value) {
      case "string":
        // With its length in front, nothing in it needs an escape.
        return `${value.length}"${value}`;
      case "number":
        return this.number(value);
      case "bigint":
        return String(value);
      case "boolean":
        return value ? "t" : "f";
    }
    if (value === null) return "n";
    if (depth >= MAX_DEPTH) throw new JsonError(`nests deeper than ${MAX_DEPTH} levels`, 0);
    if (Array.isArray(value)) {
      let text = "[";
      for (const item of value) text += `${this.text(item, depth + 1)},`;
      return `${text}]`;
    }
    let text = "{";
    for (const key of this.sortedKeys(value, depth)) {
      text += `${key.length}"${key}:${this.text(value[key] as Json, depth + 1)},`;
    }
    return `${text}}`;
  }

  private number(value: number): string {
    if (!Number.isFinite(value)) throw new JsonError("holds a number beyond a double's range", 0);
    const size = Math.abs(value);
    if (Number.isInteger(value)) return size < EXACT ? String(value) : wholeDigits(value);
    const scaled = size * this.scale;
    // A double this large has no more decimals than are compared.
    if (scaled >= EXACT) return String(value);
    const floor = Math.floor(scaled);
    const noise = Math.min(scaled * NOISE, 0.25);
    const rounded = scaled - floor >= 0.5 - noise ? floor + 1 : floor;
    const sign = value < 0 && rounded !== 0 ? "-" : "";
    if (rounded % this.scale === 0) return `${sign}${rounded / this.scale}`;
    return `${sign}${rounded}/`;
  }

  private sortedKeys(object: { [key: string]: Json }, depth: number): string[] {
    const keys = Object.keys(object);
    const known = this.shapes[depth];
    if (known !== undefined && sameItems(known.keys, keys)) return known.sorted;
    const sorted = keys.toSorted();
    this.shapes[depth] = { keys, sorted };
    return sorted;
  }
}

function sameItems(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** `1e+21` as the digits that a writer of whole numbers would have written. */
function wholeDigits(value: number): string {
  const [mantissa = "", exponent] = String(value).split("e+");
  if (exponent === undefined) return mantissa;
  const [whole = "", fraction = ""] = mantissa.split(".");
  return whole + fraction.padEnd(Number(exponent), "0");
}
