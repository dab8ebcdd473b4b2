import { Command } from "commander";
import { z } from "zod";
import { type RecoveryItem, recoveryItem } from "../model/protocol/recovery";
import { safeJson } from "../model/types/safe-text";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { type TextStyle, textStyleOf, toned, wrapped } from "./common/screen";

/** Document of `sluice recover --json`. */
export const recoverDocument = z.strictObject({ forced: z.boolean(), items: z.array(recoveryItem) });

const DETAILS = `
Without --force, nothing is changed. With it, processes that are provably this agent's are stopped (SIGTERM, and SIGKILL
5 seconds later): both the start time and the marker in the environment must match. Records that can't be read are
removed once none of their processes runs. Everything else is left alone.`;

interface Given extends AgentGiven {
  force?: boolean;
}

/** `sluice recover`: processes and records that an agent can't supervise. */
export function recoverCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("recover").description(
      "Lists processes and records that the agent can't supervise; --force stops or removes them.",
    ),
  )
    .option("--force", "stop only processes that are provably this agent's")
    .addHelpText("after", DETAILS)
    .action(async (given: Given) => finish(await recover(given, terminal)));
}

async function recover(given: Given, terminal: Terminal): Promise<ExitCode> {
  const forced = given.force ?? false;
  return withAgent(given, terminal, async ({ client }) => {
    const { items } = await client.recovery({ force: forced });
    const text = given.json ? `${safeJson({ forced, items }, 2)}\n` : recoverText(items, forced, textStyleOf(terminal));
    terminal.stdout.write(text);
    return items.every(isDone) ? EXIT.good : EXIT.problems;
  });
}

function isDone({ outcome }: RecoveryItem): boolean {
  return outcome === "stopped" || outcome === "removed";
}

function recoverText(items: readonly RecoveryItem[], forced: boolean, style: TextStyle): string {
  if (items.length === 0)
    return `${toned("nothing to recover", "good", style)}: this agent supervises all of its processes\n`;
  const lines = items.flatMap((item) => {
    const { kind, message, command, outcome } = item;
    const head =
      outcome === undefined
        ? toned(kind, "warn", style)
        : `${toned(kind, "dim", style)} ${toned(outcome, isDone(item) ? "good" : "bad", style)}`;
    const details = [message, ...(command ? [command] : [])].flatMap((text) => wrapped(text, style.width - 2, "  "));
    return [head, ...details.map((line) => `  ${line}`)];
  });
  const ours = items.filter(({ ours: provable }) => provable).length;
  const rest = forced || ours === 0 ? [] : ["", `sluice recover --force stops ${ours} of ${items.length}`];
  return `${[...lines, ...rest].join("\n")}\n`;
}
