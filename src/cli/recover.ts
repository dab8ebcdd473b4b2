import { Command } from "commander";
import { z } from "zod";
import { type RecoveryItem, recoveryItem } from "../model/protocol/recovery";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { type TextStyle, textStyleOf, toned, wrapped } from "./common/screen";

/** Document of `sluice recover --json`. */
export const recoverDocument = z.strictObject({ forced: z.boolean(), items: z.array(recoveryItem) });

const DETAILS = `
Without --force nothing is changed. With it, what is provably this agent's is stopped (SIGTERM, and SIGKILL 5 seconds
later): its start time and the marker in its environment must both be right. Records that can't be read are removed once
nothing of theirs runs. Everything else is left alone.`;

interface Given extends AgentGiven {
  force?: boolean;
}

/** `sluice recover`: what an agent can't look after. */
export function recoverCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("recover").description("Lists what the agent can't look after, and stops it with --force."),
  )
    .option("--force", "stop what is provably this agent's, and nothing else")
    .addHelpText("after", DETAILS)
    .action(async (given: Given) => finish(await recover(given, terminal)));
}

async function recover(given: Given, terminal: Terminal): Promise<ExitCode> {
  const forced = given.force ?? false;
  return withAgent(given, terminal, async ({ client }) => {
    const { items } = await client.recovery({ force: forced });
    const text = given.json
      ? `${JSON.stringify({ forced, items }, null, 2)}\n`
      : recoverText(items, forced, textStyleOf(terminal));
    terminal.stdout.write(text);
    return items.every(isDone) ? EXIT.good : EXIT.problems;
  });
}

function isDone({ outcome }: RecoveryItem): boolean {
  return outcome === "stopped" || outcome === "removed";
}

function recoverText(items: readonly RecoveryItem[], forced: boolean, style: TextStyle): string {
  if (items.length === 0)
    return `${toned("nothing to recover", "good", style)}: everything of this agent is looked after\n`;
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
  const rest = forced || ours === 0 ? [] : ["", `sluice recover --force ends ${ours} of ${items.length}`];
  return `${[...lines, ...rest].join("\n")}\n`;
}
