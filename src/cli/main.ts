import { CommanderError } from "commander";
import { AgentError } from "../agent/client/connection";
import { safeText } from "../model/types/safe-text";
import { EXIT, type ExitCode, NotReached, type Terminal, UsageError } from "./common/exit";
import { createProgram } from "./program";

/** Set by the bundler. */
declare const SLUICE_BUILD_VERSION: string;

async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  let code: number = EXIT.good;
  const finish = (result: number) => {
    code = result;
  };
  const program = createProgram(SLUICE_BUILD_VERSION, terminal, finish);
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usageError;
    const { code: failed, problems } = failure(error);
    for (const problem of problems) terminal.stderr.write(`sluice: ${safeText(problem)}\n`);
    return failed;
  }
}

/** Exit code and texts of an error that a verb may end with; others are mistakes of the program, and thrown on. */
function failure(error: unknown): { code: ExitCode; problems: readonly string[] } {
  if (error instanceof UsageError) return { code: EXIT.usageError, problems: error.problems };
  if (error instanceof NotReached) return { code: EXIT.unreachable, problems: [error.message] };
  if (error instanceof AgentError) return { code: EXIT.problems, problems: [error.message] };
  throw error;
}

const { stdin, stdout, stderr, env } = process;
// The reader may stop reading, as head does.
stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? EXIT.problems : EXIT.usageError),
);
main(process.argv.slice(2), { stdin, stdout, stderr, env }).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    stderr.write(`sluice: ${error instanceof Error ? error.stack : String(error)}\n`);
    process.exitCode = EXIT.problems;
  },
);
