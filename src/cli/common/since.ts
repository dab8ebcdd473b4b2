import { type Duration, milliseconds } from "../../model/types/duration";
import { UsageError } from "./exit";

const SHORT: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A point in time: a span before now (`10m`, `2h`, `"30 seconds"`), or a time (ISO 8601). */
export function parseSince(text: string, now: Date): Date {
  const [, count, unit = ""] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return new Date(now.getTime() - Number(count) * (SHORT[unit] ?? 0));
  if (/^\d+(?:\.\d+)? [a-z]+$/.test(text)) {
    try {
      return new Date(now.getTime() - milliseconds(text as Duration));
    } catch {
      throw unusable(text);
    }
  }
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? new Date(text) : undefined;
  if (at === undefined || Number.isNaN(at.getTime())) throw unusable(text);
  return at;
}

function unusable(text: string): UsageError {
  return new UsageError([
    `--since ${JSON.stringify(text)} is not a time: give a span such as 10m, 2h or 1d, or a time such as 2026-01-31T14:05`,
  ]);
}

/** A number that an option gives. */
export function parseCount(option: string, text: string, max: number): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : undefined;
  if (count === undefined || count > max)
    throw new UsageError([`${option} ${JSON.stringify(text)} is not a number from 0 to ${max}`]);
  return count;
}
