import { Command } from "commander";
import { z } from "zod";
import { disowned } from "../../model/protocol/ownership";
import { withAgent } from "../common/agent";
import { EXIT, type ExitCode, type Terminal, UsageError } from "../common/exit";
import { type AgentGiven, withAgentOptions } from "../common/options";

/** Document of `sluice agent disown --json`. */
export const disownDocument = z.strictObject({
  stack: z.string(),
  released: z
    .array(z.string())
    .describe("resources that the stack owned, such as `edge/main`; `agent` for the agent's options"),
});

const DETAILS = `
For a stack that was removed without its resources (pulumi stack rm --force). They keep running, and belong to the next
stack that declares them. If the stack still exists, its next update takes them back.`;

/** `sluice agent disown`: lets other stacks have what belonged to one that is gone. */
export function disownCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("disown").description("Releases this agent, and what it runs, from a stack that was removed."),
  )
    .argument("<stack>", "PROJECT/STACK")
    .addHelpText("after", DETAILS)
    .action(async (stack: string, given: AgentGiven) => finish(await disown(stack, given, terminal)));
}

async function disown(stack: string, given: AgentGiven, terminal: Terminal): Promise<ExitCode> {
  const parsed = disowned.safeParse({ stack });
  if (!parsed.success)
    throw new UsageError(parsed.error.issues.map(({ message }) => `${JSON.stringify(stack)} ${message}`));
  return withAgent(given, terminal, async ({ client }) => {
    const { released } = await client.disown(stack);
    const text =
      released.length === 0
        ? `nothing here belongs to stack ${stack}`
        : `nobody owns ${released.join(", ")} any more; the next stack that declares it does`;
    terminal.stdout.write(given.json ? `${JSON.stringify(disownDocument.parse({ stack, released }))}\n` : `${text}\n`);
    return released.length === 0 ? EXIT.problems : EXIT.good;
  });
}
