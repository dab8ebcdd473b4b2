import { z } from "zod";
import { bytes, size } from "../types/size";

const DAY_MS = 86_400_000;

/** How much evidence an agent keeps; the oldest goes first, and the newest stays, whatever its size. */
export const evidenceRetention = z.strictObject({
  /** Changes, 1 to 10,000: a transaction each, or all backends of one update. @default 300. Change: live. */
  count: z.int().min(1).max(10_000).default(300),
  /** Days, 1 to 3650. @default 400: one can look back on a year. Change: live. */
  days: z.int().min(1).max(3650).default(400),
  /** Of all folders together. @default "200 MiB". Change: live. */
  size: size({ min: "1 MiB", max: "100 GiB" }).default("200 MiB"),
});
export type EvidenceRetention = z.output<typeof evidenceRetention>;
export type EvidenceRetentionInput = z.input<typeof evidenceRetention>;

export interface KeptFolder {
  name: string;
  /** Milliseconds since the epoch. */
  begunAt: number;
  bytes: number;
  /** The update that it belongs to, where it is about a backend: a program may declare hundreds of these. */
  update?: string | undefined;
}

/**
 * Folders that go, so that the rest is within the bounds. The backends of one update count as one change, and give way to all others
 * where the size is short: they must not push out what promotions did.
 */
export function outdated(
  folders: readonly KeptFolder[],
  now: number,
  { count, days, size: most }: EvidenceRetention,
): string[] {
  const newestFirst = folders.toSorted((a, b) => b.begunAt - a.begunAt || (a.name < b.name ? 1 : -1));
  const changeOf = ({ name, update }: KeptFolder) => update ?? name;
  const counted = new Set([...new Set(newestFirst.map(changeOf))].slice(0, count));
  const single = newestFirst.filter(({ update }) => update === undefined);
  const ofUpdates = newestFirst.filter(({ update }) => update !== undefined);
  const limit = bytes(most);
  let sum = 0;
  const fitting = new Set(
    [...single, ...ofUpdates].filter((folder) => {
      sum += folder.bytes;
      return sum <= limit;
    }),
  );
  return newestFirst.flatMap((folder, index) => {
    const stays = counted.has(changeOf(folder)) && fitting.has(folder) && folder.begunAt >= now - days * DAY_MS;
    return index === 0 || stays ? [] : [folder.name];
  });
}
