import { z } from "zod";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { absolutePath } from "../types/names";

/** Properties that find an existing process, in the order in which they are tried. */
const FINDERS = ["unit", "pidFile", "port", "command"] as const;

const argument = z
  .string()
  .max(65_536)
  .refine((value) => !value.includes("\0"), { error: "holds a NUL character: remove it" });

const unitName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,200}\.service$/, {
  error: ({ input }) => `${quoteValue(input)} is not a service unit: write its whole name, such as "haproxy.service"`,
});

/**
 * Existing processes, started without Sluice, that end when this starts. The first of `unit`, `pidFile`, `port` and
 * `command` finds them; whatever else is given of these must be true of each, or the takeover is refused.
 */
export const takeoverEntry = z
  .strictObject({
    /** A systemd unit, such as `haproxy.service`: ended by `systemctl stop`, given back by `systemctl start`. */
    unit: unitName.optional(),
    /** File on the host that holds the process's id. One that is older than the process is refused. */
    pidFile: absolutePath.optional(),
    /** Finds the process that listens on this TCP port. */
    port: z.int().min(1).max(65_535).optional(),
    /** Program and arguments exactly as the process listing has them, each argument a text. */
    command: z.array(argument).min(1).max(256).optional(),
    /**
     * Signal that asks it to end; a soft stop is `SIGUSR1` for HAProxy, `SIGQUIT` for nginx. @default "SIGTERM"; for a
     * unit, what `systemctl stop` sends
     */
    signal: z.enum(["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH"]).optional(),
    /** Time that it has to give the port free, or to end. Beyond it the change fails and is undone. @default "30 seconds" */
    deadline: duration({ min: "100 milliseconds", max: "1 hour" }).default("30 seconds"),
    /** Whether SIGKILL ends what is left after the deadline. @default false */
    kill: z.boolean().default(false),
    /** Whether it has set SO_REUSEPORT, so that an edge can listen beside it. @default true for HAProxy, false for everything else */
    shares: z.boolean().optional(),
  })
  .superRefine((entry, context) => {
    if (FINDERS.every((finder) => entry[finder] === undefined))
      context.addIssue({ code: "custom", message: "names no process: give unit, pidFile, port or command" });
    if (entry.unit !== undefined && entry.kill)
      context.addIssue({
        code: "custom",
        path: ["kill"],
        message: `systemd ends ${entry.unit} by the unit's own TimeoutStopSec and SendSIGKILL: leave kill out`,
      });
  });
export type TakeoverEntry = z.output<typeof takeoverEntry>;

/** Existing processes that end when something of Sluice starts. Each of them once. */
export const takeover = z
  .array(takeoverEntry)
  .min(1)
  .max(16)
  .superRefine((entries, context) => {
    const titles = entries.map(titleOf);
    for (const [index, title] of titles.entries())
      if (titles.indexOf(title) !== index)
        context.addIssue({ code: "custom", path: [index], message: `${title} is named twice: once is enough` });
  });
export type Takeover = z.output<typeof takeover>;

/** Name of an entry, for people: `unit haproxy.service`, `port 80`. */
export function titleOf({ unit, pidFile, port, command }: Partial<TakeoverEntry>): string {
  if (unit !== undefined) return `unit ${unit}`;
  if (pidFile !== undefined) return `pid file ${pidFile}`;
  if (port !== undefined) return `port ${port}`;
  return `command ${commandLine(command ?? [])}`;
}

/** Longest command line that is shown, in characters. */
const SHOWN_COMMAND = 200;

/** A command for people, on one line. */
export function commandLine(argv: readonly string[]): string {
  const line = argv.map((word) => (/^[^\s'"\\]+$/.test(word) ? word : JSON.stringify(word))).join(" ");
  return line.length > SHOWN_COMMAND ? `${line.slice(0, SHOWN_COMMAND - 1)}…` : line;
}

/** A process that an entry names, for people. */
export interface NamedProcess {
  pid: number;
  command: string;
  /** ISO 8601. */
  since: string;
}

/** State of an entry whose processes have ended. */
export const TAKEN_OVER = "taken over";
/** How a frontend is shown whose edge has somebody else's ports to take, and nothing yet to answer with. */
export const WAITING = "waiting to take over";

/** `process 42 (nginx -g "daemon off;"), since 2026-11-21T10:00:00Z`. */
export function processText({ pid, command, since }: NamedProcess): string {
  return `process ${pid} (${command}), since ${since}`;
}

/** Expected state of each entry once it is taken over; empty if nothing is declared. */
export function expectedTakeover(entries: Takeover | undefined): { takeover?: Record<string, string> } {
  if (entries === undefined) return {};
  return { takeover: Object.fromEntries(entries.map((entry) => [titleOf(entry), TAKEN_OVER])) };
}
