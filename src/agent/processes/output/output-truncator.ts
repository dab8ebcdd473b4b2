import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { PRIVATE_FILE_MODE } from "../../support/files";
import type { ProcessEvent } from "../process-record";

/** File with the lock's holder and the size above which outputs are cut, in the folder of the processes. */
const FILE = ".truncator";
/** Its name before version 2 of the agent's API: without it, the shell of such an agent ends. */
const FORMER_FILE = ".keeper";
/** After so many rounds it looks whether anything still runs. */
const ROUNDS = 40;
/** Pause between two attempts to start one that has ended, in milliseconds. */
const RESTART_MS = 1000;

/**
 * Waits for the agent's end: its standard input is a pipe that only the agent holds. From then on it does what the agent
 * did, roughly: an output that has become too large begins anew, and its end is kept beside it. A process never waits for
 * it, since it writes to a file. It ends once the next agent has one of its own, or no output is left.
 *
 * Not `killOnParentExit`, since it begins where that one has done its work; and a shell, since it waits for as long as the
 * agent runs, which a second Node.js would do in tens of MiB.
 *
 * `$1` is the folder of the processes, `$2` names this shell.
 */
const SCRIPT = [
  "umask 077",
  "cd / || exit 1",
  "trap '' HUP PIPE",
  "while read -r _; do :; done",
  "round=0",
  `while { read -r name bytes <"$1/${FILE}"; } 2>/dev/null && [ "$name" = "$2" ]; do`,
  '  find "$1" -mindepth 2 -maxdepth 2 -name output.log -size "+$bytes"c 2>/dev/null | while read -r path; do',
  '    tail -c "$bytes" "$path" >"$path.new" && mv -f "$path.new" "$path.1" || rm -f "$path.new"',
  '    : >"$path"',
  "  done",
  `  if [ "$round" = 0 ]; then`,
  "    lives=",
  '    for status in "$1"/.status/*; do',
  '      while read -r key pid _; do case $key in shim | app) [ -e "/proc/$pid" ] && lives=1 && break 2 ;; esac; done <"$status"',
  "    done 2>/dev/null",
  '    [ -n "$lives" ] || exit 0',
  "  fi",
  `  round=$(((round + 1) % ${ROUNDS}))`,
  "  sleep 0.25",
  "done",
].join("\n");

/** Keeps the outputs of processes within bounds while no agent runs. */
export class OutputTruncator {
  private readonly name = randomBytes(8).toString("hex");
  private child: ChildProcess | undefined;
  private bytes: number | undefined;
  private retry: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly directory: string,
    private readonly report: (event: ProcessEvent) => void,
  ) {}

  /**
   * Starts it unless it runs, and sends it its work.
   *
   * @param bytes size above which an output is cut
   */
  setLimit(bytes: number): void {
    if (bytes !== this.bytes) this.write(bytes);
    this.bytes = bytes;
    if (this.child === undefined && this.retry === undefined && !this.closed) this.start();
  }

  /** Lets it run on: it bounds the outputs until the next agent does. */
  close(): void {
    this.closed = true;
    clearTimeout(this.retry);
  }

  private write(bytes: number): void {
    const path = join(this.directory, FILE);
    const temporary = `${path}.new`;
    try {
      writeFileSync(temporary, `${this.name} ${bytes}\n`, { mode: PRIVATE_FILE_MODE });
      renameSync(temporary, path);
      rmSync(join(this.directory, FORMER_FILE), { force: true });
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  }

  private start(): void {
    // No marker, since it is no process of a pool.
    const child = spawn("/bin/sh", ["-c", SCRIPT, "sluice-truncator", this.directory, this.name], {
      env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin" },
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.child = child;
    child.unref();
    const ended = (problem: string) => {
      if (this.closed || this.child !== child) return;
      this.child = undefined;
      const message = "what bounds outputs while no agent runs has ended: it is started again";
      this.report({ message, data: { problem } });
      this.retry = setTimeout(() => {
        this.retry = undefined;
      }, RESTART_MS).unref();
    };
    child.once("error", (error) => ended(error.message));
    child.once("exit", (code, signal) => ended(signal ?? `exit code ${code}`));
    // Nothing is ever written to it.
    child.stdin?.on("error", () => undefined);
    (child.stdin as Socket | null)?.unref();
  }
}
