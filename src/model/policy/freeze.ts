import { z } from "zod";
import { quoteValue } from "../types/messages";
import { hasControl } from "../types/names";

/** Times in which nothing is promoted, as clocks in one place show them. */

const DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"] as const;
/** Ends of freezes that follow each other are looked up for this many freezes. */
const MAX_CHAIN = 400;
const MAX_ENTRIES = 500;

const timeZone = z.string().refine(isTimeZone, {
  error: ({ input }) => `${quoteValue(input)} is not a time zone: use a name such as "Europe/Berlin" or "UTC"`,
});

const clockTime = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/, {
  error: ({ input }) => `${quoteValue(input)} is not a time of day: write it such as "15:00"`,
});

const label = z
  .string()
  .min(1)
  .max(100)
  .refine((text) => !hasControl(text), {
    error: ({ input }) => `${quoteValue(input)} holds a control character: remove it`,
  });

const MOMENT = /^(\d{4}-\d{2}-\d{2})(?:T([01]\d|2[0-3]):([0-5]\d))?$/;
const moment = z.string().refine((text) => MOMENT.test(text) && isDay(text.slice(0, 10)), {
  error: ({ input }) =>
    `${quoteValue(input)} is not a day or a time: write it such as "2026-12-24" or "2026-12-24T15:00"`,
});

export const freezeCalendar = z.strictObject({
  /** Time zone of the times below. @default "UTC" */
  timeZone: timeZone.default("UTC").describe('Time zone of all times, such as "Europe/Berlin"'),
  /** Freezes with a beginning and an end: a day, or a time. */
  calendar: z
    .array(
      z
        .strictObject({
          name: label.describe("What is said of the freeze, such as Black Friday or a game day"),
          from: moment.describe('First day, such as "2026-12-24", or time, such as "2026-12-24T15:00"'),
          to: moment.describe("Last day, itself included, or time; the same day as from for a single one"),
        })
        .refine(({ from, to }) => beginOf(from) < endOf(to), {
          path: ["to"],
          error: ({ input }) => `ends before it begins at ${(input as { from: string }).from}: swap the two`,
        }),
    )
    .max(MAX_ENTRIES)
    .default([])
    .describe("Freezes with a beginning and an end"),
  /** Freezes that come back every week. */
  weekly: z
    .array(
      z
        .strictObject({
          name: label.optional().describe("What is said of the freeze"),
          days: z.array(z.enum(DAYS)).min(1).describe("Days of the week"),
          from: clockTime.default("00:00").describe('Beginning on each of the days, such as "15:00"'),
          to: clockTime.default("24:00").describe("End on the same day"),
        })
        .refine(({ from, to }) => from < to, {
          path: ["to"],
          error: "is not after from: write a day for each side of midnight",
        }),
    )
    .max(MAX_ENTRIES)
    .default([])
    .describe('Freezes that come back every week, such as "not on Friday after 15:00"'),
});
export type FreezeCalendar = z.output<typeof freezeCalendar>;

/** A freeze that is in force. */
export interface Freeze {
  name: string;
  /** When nothing is frozen any more, as clocks there show it: `2026-12-27 00:00`. */
  until: string;
  timeZone: string;
}

/** The freeze at an instant, or nothing. Those that follow each other without a gap count as one. */
export function freezeAt(calendar: FreezeCalendar, at: Date): Freeze | undefined {
  const now = wallClock(at, calendar.timeZone);
  const first = covering(calendar, now);
  if (first === undefined) return undefined;
  let { until } = first;
  for (let next = covering(calendar, until), chain = 0; next !== undefined && chain < MAX_CHAIN; chain += 1) {
    until = next.until;
    next = covering(calendar, until);
  }
  return { name: first.name, until: until.replace("T", " "), timeZone: calendar.timeZone };
}

/** The freeze of a wall-clock time that lasts longest. */
function covering({ calendar, weekly }: FreezeCalendar, now: string): { name: string; until: string } | undefined {
  const day = now.slice(0, 10);
  const time = now.slice(11);
  const weekday = DAYS[new Date(`${day}T00:00Z`).getUTCDay()];
  const dated = calendar
    .filter(({ from, to }) => beginOf(from) <= now && now < endOf(to))
    .map(({ name, to }) => ({ name, until: endOf(to) }));
  const recurring = weekly
    .filter(({ days, from, to }) => weekday !== undefined && days.includes(weekday) && from <= time && time < to)
    .map(({ name, days, from, to }) => ({
      name: name ?? nameOf(days, from),
      until: to === "24:00" ? startOfNext(day) : `${day}T${to}`,
    }));
  return [...dated, ...recurring].toSorted((a, b) => (a.until < b.until ? 1 : -1))[0];
}

function nameOf(days: readonly string[], from: string): string {
  return `not on ${days.join(", ")}${from === "00:00" ? "" : ` after ${from}`}`;
}

/** Local time in a time zone at an instant: `2026-12-24T15:04`. Such texts compare as the times do. */
function wallClock(at: Date, zone: string): string {
  const parts = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  }).formatToParts(at);
  const of = (type: string) => parts.find((part) => part.type === type)?.value ?? "";
  return `${of("year")}-${of("month")}-${of("day")}T${of("hour")}:${of("minute")}`;
}

function beginOf(text: string): string {
  return text.length === 10 ? `${text}T00:00` : text;
}

/** A day as an end is its own end. */
function endOf(text: string): string {
  return text.length === 10 ? startOfNext(text) : text;
}

function startOfNext(day: string): string {
  const next = new Date(`${day}T00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return `${next.toISOString().slice(0, 10)}T00:00`;
}

function isDay(text: string): boolean {
  const parsed = new Date(`${text}T00:00Z`);
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(text);
}

function isTimeZone(text: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone !== "";
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
