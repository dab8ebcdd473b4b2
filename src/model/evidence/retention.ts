import { z } from "zod";
import { bytes, size } from "../types/size";

const DAY_MS = 86_400_000;

/** How much evidence an agent keeps; the oldest goes first, and the newest stays, whatever its size. */
export const evidenceRetention = z.strictObject({
  /** Transactions, 1 to 10,000. @default 300. Change: live. */
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
}

/** Folders that go, so that the rest is within the bounds. */
export function outdated(
  folders: readonly KeptFolder[],
  now: number,
  { count, days, size: most }: EvidenceRetention,
): string[] {
  const newestFirst = folders.toSorted((a, b) => b.begunAt - a.begunAt || (a.name < b.name ? 1 : -1));
  const limit = bytes(most);
  let sum = 0;
  return newestFirst.flatMap((folder, index) => {
    sum += folder.bytes;
    if (index === 0) return [];
    return index >= count || sum > limit || folder.begunAt < now - days * DAY_MS ? [folder.name] : [];
  });
}
