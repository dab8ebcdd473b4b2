/** Names shown beside one that is not known. */
const SHOWN = 3;

/** The known names that are closest to one that is not known, the closest first: by edit distance, within half of its length. */
export function nearest(wanted: string, known: readonly string[]): string[] {
  const lower = wanted.toLowerCase();
  return known
    .map((name) => ({ name, distance: closeness(lower, name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= Math.max(2, Math.min(wanted.length, name.length) / 2))
    .toSorted((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, SHOWN)
    .map(({ name }) => name);
}

/** Says that there is no such thing, and which are nearest; or all where none is near. */
export function unknownName(kind: string, wanted: string, known: readonly string[]): string {
  const close = nearest(wanted, known);
  if (close.length > 0) return `there is no ${kind} ${JSON.stringify(wanted)}: did you mean ${close.join(", or ")}?`;
  if (known.length === 0) return `there is no ${kind} ${JSON.stringify(wanted)}: there is none at all`;
  const all = known.length > 10 ? `${known.slice(0, 10).join(", ")}, and ${known.length - 10} more` : known.join(", ");
  return `there is no ${kind} ${JSON.stringify(wanted)}: there is ${all}`;
}

function closeness(a: string, b: string): number {
  return a.length > 1 && b.includes(a) ? 0.5 : distance(a, b);
}

/** Insertions, deletions, replacements and swaps of neighbours that lead from one text to the other. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
