import { Command, Option } from "commander";
import { z } from "zod";
import { safeJson } from "../model/types/safe-text";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./common/exit";
import { untilInterrupted } from "./common/interrupt";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { textStyleOf, toned } from "./common/screen";
import { processesOf, selected } from "./common/targets";
import { counted } from "./common/units";
import { eventText } from "./events";

/** Document of `sluice restart --json`. */
export const restartDocument = z.strictObject({
  pool: z.string(),
  restarted: z.array(z.string()).describe("keys such as `web#0`, in the order in which they were restarted"),
});

const POLICIES = ["proxied", "companion", "singleton", "service"] as const;

interface Given extends AgentGiven {
  rolling?: boolean;
  policy?: (typeof POLICIES)[number];
}

/** `sluice restart`: restarts what should run, as it is declared, without cutting traffic. */
export function restartCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("restart").description(
      "Restarts processes as they are declared, including failed ones; refuses to cut traffic.",
    ),
  )
    .argument("<target>", "POOL, POOL/PROCESS, or POOL/PROCESS#REPLICA")
    .option("--rolling", "one after the other; each must be up before the next stops")
    .addOption(new Option("--policy <policy>", "only processes of this policy").choices(POLICIES))
    .action(async (target: string, given: Given) => finish(await restart(target, given, terminal)));
}

async function restart(target: string, given: Given, terminal: Terminal): Promise<ExitCode> {
  const style = textStyleOf(terminal);
  return withAgent(given, terminal, async ({ client }) => {
    const { pools } = await client.status();
    const all = processesOf({ pools, edges: {} });
    // A name that is not known is answered with the nearest; what it means is the agent's to say.
    if (pools[target] === undefined) selected([target], all);
    const { pool, ...request } = requestOf(target);
    const stopped = await untilInterrupted(async (signal) => {
      const { restarted } = await client.restart(
        pool,
        {
          ...request,
          rolling: given.rolling ?? false,
          ...(given.policy === undefined ? {} : { policy: given.policy }),
        },
        (event) => {
          if (!given.json) terminal.stdout.write(eventText(event, style));
        },
        signal,
      );
      const message = `${counted(restarted.length, "process")} of pool ${pool} restarted: ${restarted.join(", ")}`;
      terminal.stdout.write(given.json ? `${safeJson({ pool, restarted })}\n` : `${toned(message, "good", style)}\n`);
    });
    if (!stopped) return EXIT.good;
    terminal.stderr.write(
      "sluice: stopped: processes that were restarting come up by themselves, and the others are left as they are\n",
    );
    return EXIT.problems;
  });
}

function requestOf(target: string): { pool: string; process?: string; replica?: number } {
  const match = /^([a-z][a-z0-9-]*)(?:\/([a-z][a-z0-9-]*)(?:#(\d{1,2}))?)?$/.exec(target);
  const [, pool, process, replica] = match ?? [];
  if (pool === undefined)
    throw new UsageError([
      `${JSON.stringify(target)} can't be restarted: give POOL, POOL/PROCESS or POOL/PROCESS#REPLICA`,
    ]);
  return {
    pool,
    ...(process === undefined ? {} : { process }),
    ...(replica === undefined ? {} : { replica: Number(replica) }),
  };
}
