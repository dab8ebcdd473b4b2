import { runCommand } from "../../../src/provider/commands/run-command";

/** Runs what it is given until it is killed, and prints what that prints: `run-command.ts PROGRAM ARGUMENT...` */
runCommand({
  command: process.argv.slice(2),
  cwd: process.cwd(),
  env: {},
  timeoutMs: 600_000,
  signal: new AbortController().signal,
  line: (text) => console.log(text),
}).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
