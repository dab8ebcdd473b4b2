import { z } from "zod";
import { type Duration, formatMilliseconds, milliseconds } from "../types/duration";
import { issueMessage, quoteValue } from "../types/messages";
import { hasControl } from "../types/names";

/** An operator's word that a rule does not hold for a while, as it stands in stack config. */

const line = (max: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(max)
    .refine((text) => !hasControl(text), {
      error: ({ input }) => `${quoteValue(input)} holds a control character: remove it`,
    });

/** Fields that every exception gives for the audit. */
export const audited = {
  /** Why it is right here, for those who read it later. */
  reason: line(500),
  /** Person who answers for it. */
  who: line(200),
  /** When it ends: a day in UTC, itself included, or a time with its offset. */
  until: z.union([z.iso.date(), z.iso.datetime({ offset: true }), z.iso.datetime({ offset: true, precision: -1 })], {
    error: ({ input }) =>
      `${quoteValue(input)} is not a day or a time with its offset: write it such as "2026-12-24" or "2026-12-24T18:00+01:00"`,
  }),
};

const override = z.strictObject(audited);
export type Override = z.output<typeof override>;

const DAY_MS = 86_400_000;

/** The instant at which an exception ends, in milliseconds since the epoch. */
export function endOf({ until }: Pick<Override, "until">): number {
  return until.length === 10 ? Date.parse(`${until}T00:00Z`) + DAY_MS : Date.parse(until);
}

/**
 * Reads an override from stack config. Returns what is wrong with it, in words, where it does not count.
 *
 * @param text JSON, as stack config hands over what has properties
 * @param longest an end further away than this is no exception any more
 */
export function readOverride(text: string, now: Date, longest: Duration): Override | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return "is not an object: give it reason, who and until";
  }
  const parsed = override.safeParse(value, { error: issueMessage });
  if (!parsed.success)
    return parsed.error.issues
      .map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")} ${message}`))
      .join("; ");
  const left = endOf(parsed.data) - now.getTime();
  if (left <= 0) return `has expired (until ${parsed.data.until}): remove it`;
  if (left > milliseconds(longest))
    return `until ${parsed.data.until} is further away than ${formatMilliseconds(milliseconds(longest))}: end it earlier`;
  return parsed.data;
}
