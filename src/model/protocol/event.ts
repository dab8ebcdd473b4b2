import { z } from "zod";
import { name } from "../types/names";
import type { AgentEvent } from "./transaction";

/** Most events that one answer gives of the past. */
const MAX_LAST = 10_000;

/** Filter of the events that a client asks an agent for; the values of a URL's query are strings. */
export const eventQuery = z.strictObject({
  /** From this time on. @default only the last ones */
  since: z.iso.datetime().optional(),
  /** So many of the past at most, the newest. @default all since that time */
  last: z.coerce.number().int().min(0).max(MAX_LAST).optional(),
  /** Whether to go on with what happens from now on. @default "true" */
  follow: z.enum(["true", "false"]).default("true"),
  pool: name.optional(),
  edge: name.optional(),
  route: name.optional(),
  /** Id of a process on its host, or its key within its pool. */
  process: z.string().max(200).optional(),
});
export type EventQuery = z.input<typeof eventQuery>;

/** Subject of an event: every given condition must hold. */
export type EventFilter = Pick<z.output<typeof eventQuery>, "pool" | "edge" | "route" | "process">;

export function isAbout({ data }: AgentEvent, { pool, edge, route, process }: EventFilter): boolean {
  const [kind, ...names] = typeof data.target === "string" ? data.target.split("/") : [];
  const named = (wanted: string | undefined, key: "pool" | "edge" | "route") =>
    wanted === undefined ||
    data[key] === wanted ||
    (kind === key && names[0] === wanted) ||
    (key === "edge" && kind === "backend" && names[0] === wanted) ||
    (Array.isArray(data[`${key}s`]) && (data[`${key}s`] as unknown[]).includes(wanted));
  const ofProcess = process === undefined || data.id === process || data.key === process || data.process === process;
  return named(pool, "pool") && named(edge, "edge") && named(route, "route") && ofProcess;
}
