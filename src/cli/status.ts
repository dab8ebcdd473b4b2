import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { safeJson } from "../model/types/safe-text";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { textStyleOf } from "./common/screen";
import { statusOf } from "./status/document";
import type { StatusDocument } from "./status/schema";
import { statusText } from "./status/text";

/** Pause between two refreshes of `--watch`, in milliseconds. */
const WATCH_MS = 2000;
/** Moves the cursor home; what is left of an earlier screen is cleared line by line, so that nothing flickers. */
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";

interface Given extends AgentGiven {
  watch?: boolean;
}

/** `sluice status`: one screen of everything that an agent supervises. */
export function statusCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("status").description(
      "Shows edges, routes with their splits, pools, releases and processes; problems first.",
    ),
  )
    .option("--watch", "show it again every 2 seconds, until Ctrl-C")
    .action(async (given: Given) => finish(await status(given, terminal)));
}

async function status(given: Given, terminal: Terminal): Promise<ExitCode> {
  return withAgent(given, terminal, async ({ client, where }) => {
    const style = async () => statusOf(await client.status(), where, new Date());
    return given.watch ? watch(style, given, terminal) : show(await style(), given, terminal);
  });
}

function show(document: StatusDocument, { json }: Given, terminal: Terminal): ExitCode {
  terminal.stdout.write(json ? `${safeJson(document, 2)}\n` : statusText(document, textStyleOf(terminal)));
  return document.problems.length === 0 ? EXIT.good : EXIT.problems;
}

/** Ends with what it saw last, when it is told to. */
async function watch(style: () => Promise<StatusDocument>, { json }: Given, terminal: Terminal): Promise<ExitCode> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    for (let first = true; ; first = false) {
      const document = await style();
      if (json) terminal.stdout.write(`${safeJson(document)}\n`);
      else if (terminal.stdout.isTTY)
        terminal.stdout.write(repainted(statusText(document, textStyleOf(terminal)), terminal, first));
      else terminal.stdout.write(`${statusText(document, textStyleOf(terminal))}\n`);
      await sleep(WATCH_MS, undefined, { signal: stop.signal }).catch(() => undefined);
      if (stop.signal.aborted) return document.problems.length === 0 ? EXIT.good : EXIT.problems;
    }
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** A screen over the one before, as far as the terminal is high. */
function repainted(text: string, { stdout }: Terminal, first: boolean): string {
  const lines = text.trimEnd().split("\n");
  const height = stdout.rows ?? lines.length + 1;
  const shown =
    lines.length < height ? lines : [...lines.slice(0, height - 2), `... ${lines.length - height + 2} more lines`];
  const start = first ? HOME + CLEAR_BELOW : HOME;
  return `${start}${shown.map((line) => line + CLEAR_LINE).join("\n")}\n${CLEAR_BELOW}`;
}
