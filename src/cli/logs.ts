import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { z } from "zod";
import type { AgentClient } from "../agent/client/client";
import { AgentError } from "../agent/client/connection";
import { MAX_LINES, type OutputQuery } from "../model/protocol/output";
import { safeJson, safeLine } from "../model/types/safe-text";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { untilInterrupted } from "./common/interrupt";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { type TextStyle, textStyleOf, toned } from "./common/screen";
import { parseCount, parseSince } from "./common/since";
import { type ProcessName, processesOf, selected, TARGET_FORMS } from "./common/targets";

const DEFAULT_LINES = 20;
/** Pause between two searches for new processes, in milliseconds. */
const REFRESH_MS = 2000;

/** One line of `sluice logs --json`. */
export const logLine = z.strictObject({
  pool: z.string().optional().describe("absent for an edge's HAProxy"),
  process: z.string().describe("its key, such as `web#0`"),
  id: z.string().describe("id on its host, such as `web.3.web.0`"),
  at: z.iso
    .datetime()
    .optional()
    .describe("approximate time of writing, at most 2 s late, if the agent saw it; ISO 8601"),
  line: z.string().describe("without the values of the pool's secrets; cut after 16 KiB"),
});
export type LogLine = z.output<typeof logLine>;

interface Given extends AgentGiven {
  follow?: boolean;
  since?: string;
  lines?: string;
}

/** `sluice logs`: what processes print. */
export function logsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("logs").description("Shows the output of processes: of all, or of the named ones."),
  )
    .argument("[target...]", TARGET_FORMS)
    .option("--follow", "keep printing new output, also of new releases, until Ctrl-C")
    .option(
      "--since <time>",
      "output since about then: a span such as 10m, 2h or 1d, or a time such as 2026-01-31T14:05",
    )
    .option("--lines <n>", `the newest n lines of each process (default: ${DEFAULT_LINES}, or all with --since)`)
    .action(async (targets: string[], given: Given) => {
      await logs(targets, given, terminal);
      finish(EXIT.good);
    });
}

async function logs(targets: string[], given: Given, terminal: Terminal): Promise<void> {
  const since = given.since === undefined ? undefined : parseSince(given.since, new Date());
  const lines = given.lines === undefined ? undefined : parseCount("--lines", given.lines, MAX_LINES);
  const query: OutputQuery = {
    follow: given.follow ? "true" : "false",
    ...(since === undefined
      ? { lines: lines ?? DEFAULT_LINES }
      : { since: since.toISOString(), ...(lines === undefined ? {} : { lines }) }),
  };
  await withAgent(given, terminal, async ({ client }) => {
    const first = selected(targets, processesOf(await client.status()));
    const printer = new Printer(given, terminal);
    printer.make(first);
    await untilInterrupted((signal) =>
      given.follow
        ? follow(client, targets, first, query, printer, signal)
        : showEach(client, first, query, printer, signal),
    );
  });
}

/** One process after the other, so that the lines of each stay together. */
async function showEach(
  client: AgentClient,
  processes: ProcessName[],
  query: OutputQuery,
  printer: Printer,
  signal: AbortSignal,
): Promise<void> {
  for (const process of processes) await stream(client, process, query, printer, signal);
}

/** All at once; those that come later are shown from their first line. */
async function follow(
  client: AgentClient,
  targets: string[],
  first: ProcessName[],
  query: OutputQuery,
  printer: Printer,
  outer: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([outer, failed.signal]);
  const followed = new Map<string, Promise<void>>();
  const begin = (process: ProcessName, from: OutputQuery) => {
    const streaming = stream(client, process, from, printer, signal)
      .catch((error: unknown) => failed.abort(error))
      .finally(() => followed.delete(process.id));
    followed.set(process.id, streaming);
  };
  for (const process of first) begin(process, query);
  while (!signal.aborted) {
    await sleep(REFRESH_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    const now = processesOf(await client.status()).filter(({ id }) => !followed.has(id));
    for (const process of now) if (isWanted(targets, process)) begin(process, { follow: "true", lines: MAX_LINES });
  }
  await Promise.all(followed.values());
  failed.signal.throwIfAborted();
}

/** A pool or process that was named is meant in its next release, too. */
function isWanted(targets: string[], process: ProcessName): boolean {
  if (targets.length === 0) return true;
  try {
    return targets.some((target) => selected([target], [process]).length > 0);
  } catch {
    return false;
  }
}

async function stream(
  client: AgentClient,
  process: ProcessName,
  query: OutputQuery,
  printer: Printer,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const { line, at } of client.output(process.id, query, signal)) printer.print(process, line, at);
  } catch (error) {
    // It has gone between the look and the question; one that was never started has printed nothing.
    if (signal.aborted || (error instanceof AgentError && error.code === "not-found")) return;
    throw error;
  }
}

/** Prefixes tell processes apart, where there is more than one. */
const INKS = ["36", "35", "34", "33", "32", "96", "95", "94"];

class Printer {
  private readonly style: TextStyle;
  private width = 0;
  private alone = true;
  private readonly inks = new Map<string, string>();

  constructor(
    private readonly given: Given,
    private readonly terminal: Terminal,
  ) {
    this.style = textStyleOf(terminal);
  }

  make(processes: readonly ProcessName[]): void {
    this.alone = processes.length === 1 && !this.given.follow;
    this.width = Math.max(0, ...processes.map((process) => titleOf(process).length));
  }

  print(process: ProcessName, line: string, at: string | undefined): void {
    const { pool, key, id } = process;
    const { stdout } = this.terminal;
    if (this.given.json) {
      const answer: LogLine = {
        ...(pool === undefined ? {} : { pool }),
        process: key,
        id,
        ...(at === undefined ? {} : { at }),
        line,
      };
      stdout.write(`${safeJson(answer)}\n`);
      return;
    }
    // Exact for another program; a terminal must not obey what an app prints. Lines are cut by the agent already.
    const text = stdout.isTTY ? safeLine(line, Number.POSITIVE_INFINITY) : line;
    stdout.write(this.alone ? `${text}\n` : `${this.prefix(process)} ${text}\n`);
  }

  private prefix(process: ProcessName): string {
    const title = titleOf(process).padEnd(this.width);
    if (!this.style.colour) return `${title} ${toned("|", "dim", this.style)}`;
    const ink = this.inks.get(process.id) ?? INKS[this.inks.size % INKS.length] ?? "0";
    this.inks.set(process.id, ink);
    return `\u001b[${ink}m${title}\u001b[0m ${toned("|", "dim", this.style)}`;
  }
}

function titleOf({ pool, key }: ProcessName): string {
  return pool === undefined ? key : `${pool}/${key}`;
}
