/** Releases whose order is kept. */
const MAX_ORDER = 50;

/** Ids of releases in the order of their first promotion, after that of another one. A way back in it is a rollback. */
export function orderAfter(known: readonly string[], promoted: string): string[] {
  return known.includes(promoted) ? [...known] : [...known, promoted].slice(-MAX_ORDER);
}
