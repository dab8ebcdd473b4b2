import { Command } from "commander";
import { safeText } from "../model/types/safe-text";
import { agentCommand } from "./agent";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { completeCommand, completionCommand } from "./completion";
import { doctorCommand } from "./doctor";
import { eventsCommand } from "./events";
import { evidenceCommand } from "./evidence";
import { logsCommand } from "./logs";
import { migrationsCommand } from "./migrations";
import { parityCommand } from "./parity";
import { recoverCommand } from "./recover";
import { restartCommand } from "./restart";
import { statusCommand } from "./status";
import { validateCommand } from "./validate";

const EXIT_CODES = `
Exit codes: ${EXIT.good} good, ${EXIT.problems} problems found, ${EXIT.usageError} usage, ${EXIT.unreachable} unreachable.`;

const VERBS: ((terminal: Terminal, finish: (code: ExitCode) => void) => Command)[] = [
  statusCommand,
  eventsCommand,
  logsCommand,
  restartCommand,
  doctorCommand,
  recoverCommand,
  validateCommand,
  evidenceCommand,
  parityCommand,
  migrationsCommand,
  agentCommand,
  completionCommand,
];

/**
 * The whole command, with all of its verbs.
 *
 * @param finish called with the exit code of the verb that ran
 */
export function createProgram(version: string, terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const program = new Command("sluice")
    .description("Inspects and operates hosts that Sluice manages, beside pulumi preview and pulumi up.")
    .version(version)
    .helpCommand("help [verb]", "shows the help of a verb")
    .addHelpText("after", EXIT_CODES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(safeText(text)),
    })
    .showHelpAfterError("(see --help)");
  for (const verb of VERBS) program.addCommand(inheriting(verb(terminal, finish), program));
  program.addCommand(completeCommand(terminal, finish).copyInheritedSettings(program), { hidden: true });
  return program;
}

/** A verb made apart from the program does not take its settings by itself, nor do the verbs below it. */
function inheriting(verb: Command, parent: Command): Command {
  verb.copyInheritedSettings(parent);
  for (const inner of verb.commands) inheriting(inner as Command, verb);
  return verb;
}
