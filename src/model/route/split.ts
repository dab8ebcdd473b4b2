import { z } from "zod";
import { quoteValue } from "../types/messages";

/** Parts into which a route's requests are divided: a split of 100 of them is 1 %. */
export const SPLIT_PARTS = 10_000;

/** A split as an agent takes it: the candidate's share of the requests, in 1/10,000. */
export const split = z.int().min(0).max(SPLIT_PARTS);

/** A split as people write it, from `0%` to `100%` with at most two decimals. */
export type Percent = `${number}%`;

const PERCENT = /^(\d{1,3})(?:\.(\d{1,2}))?%$/;

/** The split, in 1/10,000, that a text such as `33.33%` means; undefined if it is no such text. */
export function parsePercent(text: string): number | undefined {
  const match = PERCENT.exec(text);
  if (match === null) return undefined;
  const [, whole = "", decimals = ""] = match;
  const parts = Number(whole) * 100 + Number(decimals.padEnd(2, "0"));
  return parts <= SPLIT_PARTS ? parts : undefined;
}

/** A split in 1/10,000 as people write it: `0.01%`, `1%`, `33.33%`. */
export function formatSplit(parts: number): Percent {
  return `${parts / 100}%`;
}

/** Schema of a split as people write it. */
export const percent = z
  .string({ error: ({ input }) => `${quoteValue(input)} is not a share of the requests: write a text such as "10%"` })
  .refine((text) => parsePercent(text) !== undefined, {
    error: ({ input }) =>
      `${quoteValue(input)} is not a share of the requests: write "0%" to "100%" with at most two decimals, such as "0.01%" or "10%"`,
  }) as unknown as z.ZodType<Percent, Percent>;
