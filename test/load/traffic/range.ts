/** From and to, both possible. */
export type Range = readonly [number, number];

export function between([from, to]: Range): number {
  return from + Math.random() * (to - from);
}
