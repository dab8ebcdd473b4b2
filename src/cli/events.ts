import { Command } from "commander";
import { z } from "zod";
import type { AgentClient } from "../agent/client/client";
import type { EventFilter } from "../model/protocol/event";
import { isAbout } from "../model/protocol/event";
import type { AgentEvent } from "../model/protocol/transaction";
import { safeJson, safeLine } from "../model/types/safe-text";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./common/exit";
import { untilInterrupted } from "./common/interrupt";
import { unknownName } from "./common/nearest";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { type TextStyle, type Tone, textStyleOf, toned, wrapped } from "./common/screen";
import { parseCount, parseSince } from "./common/since";

const DEFAULT_LAST = 30;
const MAX_LAST = 10_000;

/** One line of `sluice events --json`. */
export const eventLine = z.strictObject({
  at: z.iso.datetime().describe("ISO 8601"),
  message: z.string(),
  data: z
    .record(z.string(), z.unknown())
    .describe(
      "its subject: `pool`, `edge`, `route`, `id`, `key`, `release`, `transaction`, `state` and others, where they apply",
    ),
});

interface Given extends AgentGiven {
  follow?: boolean;
  since?: string;
  last?: string;
  pool?: string;
  edge?: string;
  route?: string;
  process?: string;
}

/** `sluice events`: what happened on an agent's host, and what happens. */
export function eventsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("events").description("Shows the events of the agent's host with their reasons; the newest last."),
  )
    .option("--follow", "keep printing new events, until Ctrl-C")
    .option("--since <time>", "events since then: a span such as 10m, 2h or 1d, or a time such as 2026-01-31T14:05")
    .option("--last <n>", `only the newest n (default: ${DEFAULT_LAST}, or all with --since)`)
    .option("--pool <name>", "events of this pool only")
    .option("--edge <name>", "events of this edge only")
    .option("--route <name>", "events of this route only")
    .option("--process <name>", "events of this process only: its id, or its key such as web#0")
    .action(async (given: Given) => {
      await events(given, terminal);
      finish(EXIT.good);
    });
}

async function events(given: Given, terminal: Terminal): Promise<void> {
  const { pool, edge, route, process: named, follow = false } = given;
  const since = given.since === undefined ? undefined : parseSince(given.since, new Date());
  const last = given.last === undefined ? undefined : parseCount("--last", given.last, MAX_LAST);
  const filter: EventFilter = { pool, edge, route, process: named };
  await withAgent(given, terminal, async ({ client }) => {
    const query = {
      ...filter,
      follow: follow ? ("true" as const) : ("false" as const),
      ...(since === undefined
        ? { last: last ?? DEFAULT_LAST }
        : { since: since.toISOString(), ...(last === undefined ? {} : { last }) }),
    };
    await assertKnown(client, filter);
    await untilInterrupted(async (signal) => {
      for await (const event of client.events(signal, query))
        terminal.stdout.write(given.json ? `${safeJson(event)}\n` : eventText(event, textStyleOf(terminal)));
    });
  });
}

/** A misspelt name must not pass for one of which nothing happened. What was removed is still known by its events. */
async function assertKnown(client: AgentClient, { pool, edge, route, process: named }: EventFilter): Promise<void> {
  if (pool === undefined && edge === undefined && route === undefined && named === undefined) return;
  const { pools, edges, routes } = await client.status();
  const processes = Object.values(pools).flatMap((each) => ("error" in each ? [] : each.processes));
  const asked: [kind: "pool" | "edge" | "route" | "process", wanted: string | undefined, known: string[]][] = [
    ["pool", pool, Object.keys(pools)],
    ["edge", edge, Object.keys(edges)],
    ["route", route, Object.keys(routes)],
    ["process", named, [...new Set(processes.flatMap(({ id, key, process: name }) => [key, name, id]))]],
  ];
  const missing = asked.flatMap(([kind, wanted, known]) =>
    wanted === undefined || known.includes(wanted) ? [] : [{ kind, wanted, known }],
  );
  const unknown = [];
  for (const { kind, wanted, known } of missing)
    if (!(await hasHappened(client, { [kind]: wanted }))) unknown.push(unknownName(kind, wanted, known));
  if (unknown.length > 0) throw new UsageError(unknown);
}

async function hasHappened(client: AgentClient, filter: Partial<EventFilter>): Promise<boolean> {
  for await (const event of client.events(undefined, {
    ...filter,
    since: new Date(0).toISOString(),
    last: 1,
    follow: "false",
  }))
    if (isAbout(event, { pool: undefined, edge: undefined, route: undefined, process: undefined, ...filter }))
      return true;
  return false;
}

/** An event as people read it: local time, and the message in lines of the screen's width beside it. */
export function eventText({ at, message, data }: AgentEvent, style: TextStyle): string {
  const time = localTime(new Date(at));
  const indent = " ".repeat(time.length + 2);
  const room = style.width - indent.length;
  const lines = message
    .split("\n")
    .flatMap((line) => (room === Number.POSITIVE_INFINITY ? [safeLine(line)] : wrapped(line, room)));
  const tone = toneOf(data);
  return `${lines.map((line, index) => (index === 0 ? `${toned(time, "dim", style)}  ` : indent) + toned(line, tone, style)).join("\n")}\n`;
}

function toneOf({ state }: AgentEvent["data"]): Tone {
  if (state === "failed") return "bad";
  return state === "backoff" ? "warn" : "plain";
}

/** In the time zone of whoever looks: `2026-01-31 14:05:09`. */
function localTime(at: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
