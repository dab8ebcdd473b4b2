/** What is kept of the evidence on an agent; the oldest goes first. */
export const EVIDENCE_KEPT = {
  /** Transactions. */
  count: 300,
  /** In milliseconds: 400 days, so that a year can be looked back on. */
  ageMs: 400 * 86_400_000,
  /** Of all folders together. */
  bytes: 200 * 1024 * 1024,
} as const;

export interface KeptFolder {
  name: string;
  /** Milliseconds since the epoch. */
  begunAt: number;
  bytes: number;
}

/** Folders that go, so that the rest is within the bounds. The newest one stays, whatever its size. */
export function outdated(
  folders: readonly KeptFolder[],
  now: number,
  { count, ageMs, bytes }: { count: number; ageMs: number; bytes: number } = EVIDENCE_KEPT,
): string[] {
  const newestFirst = folders.toSorted((a, b) => b.begunAt - a.begunAt || (a.name < b.name ? 1 : -1));
  let size = 0;
  return newestFirst.flatMap((folder, index) => {
    size += folder.bytes;
    if (index === 0) return [];
    return index >= count || size > bytes || folder.begunAt < now - ageMs ? [folder.name] : [];
  });
}
