import type { Canonical } from "../../model/parity/canonical";
import type { Json } from "../../model/parity/json";

/** How the compared data of two answers relate. Rows are a multiset: their order has no meaning, duplicates count. */
export interface Comparison {
  /** Numbers of rows. Data that is not a list is one row. */
  upstream: number;
  candidate: number;
  equal: number;
  /** Rows that only upstream has, and that only the candidate has; both in the order of their answers. */
  missing: Json[];
  extra: Json[];
  /** One side's data is a list and the other's is not, so that no row of one can be a row of the other. */
  kindsDiffer: boolean;
}

export type Difference = "missing-in-candidate" | "extra-in-candidate" | "different";

/** Compares what two answers hold. Throws JsonError where it nests too deep. */
export function compareData(upstream: Json, candidate: Json, canonical: Canonical): Comparison {
  const ours = rowsOf(upstream);
  const theirs = rowsOf(candidate);
  const counts = { upstream: ours.length, candidate: theirs.length };
  if (upstream === candidate) return { ...counts, equal: ours.length, missing: [], extra: [], kindsDiffer: false };
  if (Array.isArray(upstream) !== Array.isArray(candidate))
    return { ...counts, equal: 0, missing: ours, extra: theirs, kindsDiffer: true };

  const ourTexts = ours.map((row) => canonical.text(row));
  const left = new Map<string, number[]>();
  const remaining: { text: string; row: Json }[] = [];
  let equal = 0;
  for (let index = 0; index < theirs.length; index++) {
    const row = theirs[index] as Json;
    const text = canonical.text(row);
    // Most rows are in the same place on both sides, and then need no look-up.
    if (ourTexts[index] === text) equal++;
    else {
      remaining.push({ text, row });
      note(left, ourTexts, index);
    }
  }
  for (let index = theirs.length; index < ours.length; index++) note(left, ourTexts, index);

  const extra: Json[] = [];
  for (const { text, row } of remaining) {
    if (left.get(text)?.pop() === undefined) extra.push(row);
    else equal++;
  }
  const missing = [...left.values()]
    .flat()
    .sort((a, b) => a - b)
    .map((index) => ours[index] as Json);
  return { ...counts, equal, missing, extra, kindsDiffer: false };
}

/** The class of a comparison's request, or nothing where the two sides are equal. */
export function differenceOf({ missing, extra, kindsDiffer }: Comparison): Difference | undefined {
  if (kindsDiffer || (missing.length > 0 && extra.length > 0)) return "different";
  if (missing.length > 0) return "missing-in-candidate";
  return extra.length > 0 ? "extra-in-candidate" : undefined;
}

function rowsOf(data: Json): Json[] {
  return Array.isArray(data) ? data : [data];
}

function note(left: Map<string, number[]>, texts: readonly string[], index: number): void {
  const text = texts[index];
  if (text === undefined) return;
  const indices = left.get(text);
  if (indices === undefined) left.set(text, [index]);
  else indices.push(index);
}
