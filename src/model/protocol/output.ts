import { z } from "zod";

/** Most lines of the past that an answer gives by number. */
export const MAX_LINES = 100_000;

/** Filter of the process output that a client asks an agent for; the values of a URL's query are strings. */
export const outputQuery = z.strictObject({
  /** So many lines of the past, the newest. @default all since `since`, or 20 where that is not given */
  lines: z.coerce.number().int().min(0).max(MAX_LINES).optional(),
  /** Lines written after about this time. Lines from before the agent's start have no date, and are included. */
  since: z.iso.datetime().optional(),
  /** Whether to go on with what is written from now on, by whatever runs under this id. @default "false" */
  follow: z.enum(["true", "false"]).default("false"),
});
export type OutputQuery = z.input<typeof outputQuery>;

/** One line of output. */
export interface OutputLine {
  line: string;
  /** About when it was written, as far as that is known: at most 2 s too late. ISO 8601. */
  at?: string;
}
