import { Command, CommanderError } from "commander";
import { AgentError } from "../agent/client/connection";
import { agentCommand } from "./agent";
import { completeCommand, completionCommand } from "./completion";
import { doctorCommand } from "./doctor";
import { eventsCommand } from "./events";
import { evidenceCommand } from "./evidence";
import { EXIT, type ExitCode, NotReached, type Terminal, UsageError } from "./exit";
import { logsCommand } from "./logs";
import { migrationsCommand } from "./migrations";
import { parityCommand } from "./parity";
import { recoverCommand } from "./recover";
import { restartCommand } from "./restart";
import { statusCommand } from "./status";

/** Set by the bundler. */
declare const SLUICE_BUILD_VERSION: string;

const EXIT_CODES = `
Exit codes: ${EXIT.good} good, ${EXIT.problems} problems found, ${EXIT.usage} usage, ${EXIT.unreachable} unreachable.`;

const VERBS: ((terminal: Terminal, finish: (code: ExitCode) => void) => Command)[] = [
  statusCommand,
  eventsCommand,
  logsCommand,
  restartCommand,
  doctorCommand,
  recoverCommand,
  evidenceCommand,
  parityCommand,
  migrationsCommand,
  agentCommand,
  completionCommand,
];

async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  let code: number = EXIT.good;
  const program = new Command("sluice")
    .description("Looks after promotions: what operators need beside pulumi preview and pulumi up.")
    .version(SLUICE_BUILD_VERSION)
    .helpCommand("help [verb]", "shows the help of a verb")
    .addHelpText("after", EXIT_CODES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    })
    .showHelpAfterError("(--help shows what there is)");
  const finish = (result: number) => {
    code = result;
  };
  for (const verb of VERBS) program.addCommand(inheriting(verb(terminal, finish), program));
  program.addCommand(completeCommand(terminal, finish).copyInheritedSettings(program), { hidden: true });
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usage;
    const { code: failed, problems } = failure(error);
    for (const problem of problems) terminal.stderr.write(`sluice: ${problem}\n`);
    return failed;
  }
}

/** A verb made apart from the program does not take its settings by itself, nor do the verbs below it. */
function inheriting(verb: Command, parent: Command): Command {
  verb.copyInheritedSettings(parent);
  for (const inner of verb.commands) inheriting(inner as Command, verb);
  return verb;
}

/** What an error that a verb may end with means; others are mistakes of the program, and thrown on. */
function failure(error: unknown): { code: ExitCode; problems: readonly string[] } {
  if (error instanceof UsageError) return { code: EXIT.usage, problems: error.problems };
  if (error instanceof NotReached) return { code: EXIT.unreachable, problems: [error.message] };
  if (error instanceof AgentError) return { code: EXIT.problems, problems: [error.message] };
  throw error;
}

const { stdin, stdout, stderr, env } = process;
// Whoever reads the output may stop reading, as head does.
stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? EXIT.problems : EXIT.usage));
main(process.argv.slice(2), { stdin, stdout, stderr, env }).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    stderr.write(`sluice: ${error instanceof Error ? error.stack : String(error)}\n`);
    process.exitCode = EXIT.problems;
  },
);
