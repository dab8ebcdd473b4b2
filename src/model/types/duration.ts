import { z } from "zod";
import { quoteValue } from "./messages";

const UNITS = { millisecond: 1, second: 1000, minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;
type Unit = keyof typeof UNITS;

/** A span of time with its unit, such as `"30 seconds"` or `"1 minute"`. */
export type Duration = `${number} ${Unit | `${Unit}s`}`;

const DURATION = /^(\d+(?:\.\d+)?) (millisecond|second|minute|hour|day)s?$/;

/** Longest span that is accepted: timers of Node.js and HAProxy hold 2^31 - 1 milliseconds, about 24.8 days. */
export const MAX_DURATION_MS = 2 ** 31 - 1;

/** Milliseconds of a duration. Throws where the text is not one; input is checked by {@link duration} before. */
export function milliseconds(text: Duration): number {
  const match = DURATION.exec(text);
  const amount = match?.[1];
  const unit = match?.[2] as Unit | undefined;
  if (amount === undefined || unit === undefined)
    throw new Error(`${quoteValue(text)} is not a duration such as "30 seconds"`);
  return Math.round(Number(amount) * UNITS[unit]);
}

/** Milliseconds as the shortest text for people, such as `1.5 s`, `12 min` or `250 ms`; one decimal at most. */
export function formatMilliseconds(ms: number): string {
  // A value that rounds up to the next unit is written in that: never "60 s" or "1000 ms".
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${trim(ms / 1000)} s`;
  if (ms < 3_597_000) return `${trim(ms / 60_000)} min`;
  return `${trim(ms / 3_600_000)} h`;
}

function trim(value: number): string {
  return value.toFixed(1).replace(/\.0$/, "");
}

/** Schema of a duration between two bounds, both included. */
export function duration(bounds: { min?: Duration; max?: Duration } = {}): z.ZodType<Duration, Duration> {
  const min = bounds.min === undefined ? 0 : milliseconds(bounds.min);
  const max = bounds.max === undefined ? MAX_DURATION_MS : milliseconds(bounds.max);
  const range = `${bounds.min ?? "0 seconds"} to ${bounds.max ?? "24 days"}`;
  const schema = z
    .string({ error: ({ input }) => `${quoteValue(input)} is not a duration: write a text such as "30 seconds"` })
    .superRefine((text, context) => {
      if (!DURATION.test(text)) {
        context.addIssue({
          code: "custom",
          message: `${quoteValue(text)} is not a duration: write a number, a space and a unit, such as "30 seconds"`,
        });
        return;
      }
      const ms = milliseconds(text as Duration);
      if (ms < min || ms > max) {
        context.addIssue({
          code: "custom",
          message: `${quoteValue(text)} is out of range: use ${range}`,
        });
      }
    });
  return schema as unknown as z.ZodType<Duration, Duration>;
}
