import { spawn } from "node:child_process";
import { basename } from "node:path";
import { endGroup } from "../../support/end-group";
import { killOnParentExit } from "../../support/kill-on-parent-exit";

/** Output that is kept, in characters from its end. */
const KEPT = 64 * 1024;

export interface CommandRun {
  command: readonly string[];
  cwd: string;
  /** Beside this process's own. */
  env: Record<string, string>;
  timeoutMs: number;
  signal: AbortSignal;
  /** Told each line of output as it comes. */
  line?: (text: string) => void;
}

/** A command that did not exit with 0; the message has its last line. */
export class CommandError extends Error {
  constructor(
    message: string,
    /** The end of its output. */
    readonly output: string,
  ) {
    super(message);
    this.name = "CommandError";
  }
}

/** Time that output has to end after its program, in milliseconds. */
const CLOSE_MS = 2000;

/**
 * Runs a program without a shell, in a process group that ends with it, and with this process. Resolves with its standard output.
 * @throws CommandError
 */
export function runCommand({ command, cwd, env, timeoutMs, signal, line }: CommandRun): Promise<string> {
  const [program = "", ...args] = command;
  const title = basename(program);
  return new Promise((resolve, reject) => {
    const kept = { out: "", all: "" };
    const stop = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const letGo = killOnParentExit(child, ({ message }) =>
      line?.(`${title} would go on if this process died: ${message}`),
    );
    const end = () => endGroup(child);
    if (stop.aborted) end();
    stop.addEventListener("abort", end, { once: true });
    const last = () => kept.all.trim().split("\n").at(-1) ?? "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      kept.out = (kept.out + text).slice(-KEPT);
    });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        kept.all = (kept.all + text).slice(-KEPT);
        if (last() !== "") line?.(last());
      });
    const fail = (reason: string) => {
      const lastLine = last() === "" ? "" : `: ${last()}`;
      reject(new CommandError(`${title} ${reason}${lastLine}`, kept.all));
    };
    child.on("error", (error) => fail(`can't be run: ${error.message}`));
    child.on("exit", (code, ended) => {
      letGo();
      stop.removeEventListener("abort", end);
      const finish = () => {
        if (signal.aborted) reject(signal.reason);
        else if (stop.aborted) fail(`did not end within ${timeoutMs / 1000} s`);
        else if (code === 0) resolve(kept.out);
        else fail(code === null ? `was ended by ${ended}` : `exited with ${code}`);
      };
      // A child that it left behind may hold its output open: that ends with it, and then all output is here.
      end();
      // Unless it has left the group as well: nobody waits for that.
      const late = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, CLOSE_MS);
      child.once("close", () => {
        clearTimeout(late);
        finish();
      });
    });
  });
}
