import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { hasEnded } from "./proc-errors";

const SHELL = "/bin/sh";
const NAME = "sluice-shim";
/** The script's one variable; like all shell variables it hides an environment variable of that name. */
const VARIABLE = "__sluice";

/** Descriptor of the status file: shells know those of one digit, and the lower ones are the app's. */
export const STATUS_FD = 9;

/**
 * Runs the command and records its life in a status file. Only builtins of the shell: nothing depends
 * on PATH, and nothing must be forked when the host is short of memory or of pids.
 * - Signals sent to the whole group are trapped, not ignored: a trap ends at exec, "ignored" would be inherited by the app.
 * - A subshell in the foreground, because one in the background has SIGINT ignored. `$$` is the shim there, too, so each
 *   reads its own pid and start time from /proc/self.
 * - The shim's own errors ("Killed") go to /dev/null, the app's and those of exec to the output, which is standard output.
 * - The app goes to its cgroup, the first argument, by itself; the shim stays outside, and lives to tell how it ended.
 * - A shell, since each app has one for as long as it runs; and it must not end with the agent, whose successor reads the file.
 * - If the status cannot be written, nothing is executed: a process that runs is always on record.
 */
const SCRIPT = [
  "unset SHLVL",
  "trap : HUP INT QUIT ALRM TERM USR1 USR2 PIPE TSTP TTIN TTOU",
  `read -r ${VARIABLE} </proc/self/stat && echo "shim $${VARIABLE}" >&${STATUS_FD} || exit 125`,
  `([ -z "$1" ] || echo 0 >"$1/cgroup.procs" || exit 125; shift; read -r ${VARIABLE} </proc/self/stat && echo "app $${VARIABLE}" >&${STATUS_FD} || exit 125; exec "$@" ${STATUS_FD}>&-) 2>&1`,
  `echo "exit $?" >&${STATUS_FD}`,
].join("\n");

const OWN_COMMAND_LINE = `${SHELL}\0-c\0${SCRIPT}\0`;

/** Names that one shell or another (dash, bash, busybox) sets or drops by itself: they would not reach the app as given. */
export const SHELL_OWN_VARIABLES = ["IFS", "LINENO", "OPTIND", "PPID", "PS1", "PS4", "SHLVL", VARIABLE];

/** Exit status of a shell whose `exec` failed: 126 not executable, 127 not found. */
export function isExecFailure(status: number): boolean {
  return status === 126 || status === 127;
}

/**
 * Starts the shim in a session and group of its own, holding nothing of this process's but the descriptors given.
 *
 * @throws when the kernel refuses
 */
export async function spawnShim(o: {
  argv: string[];
  cwd: string;
  env: Record<string, string>;
  output: number;
  status: number;
  /** Folder of the cgroup that the app goes to. */
  cgroup: string | undefined;
  /** Further descriptors of the app, by their numbers there: below the status file's. */
  descriptors: ReadonlyMap<number, number>;
}): Promise<ChildProcess> {
  const child = spawn(SHELL, ["-c", SCRIPT, NAME, o.cgroup ?? "", ...o.argv], {
    cwd: o.cwd,
    env: o.env,
    detached: true,
    stdio: ["ignore", o.output, "ignore", ...extraDescriptors(o.descriptors), o.status],
  });
  await once(child, "spawn");
  child.unref();
  return child;
}

/** Stdio entries from 3 up to the status file's, for the app's descriptors; an ignored one is not opened. */
export function extraDescriptors(descriptors: ReadonlyMap<number, number>): (number | "ignore")[] {
  return Array.from({ length: STATUS_FD - 3 }, (_, index) => descriptors.get(index + 3) ?? "ignore");
}

/**
 * Whether the process with this pid, a shim's child, has become the app: until then its command line is the shim's. An
 * empty one is that of a program which has cleared it, or of a process that is ending and has no program any more.
 *
 * @param wrap programs with their arguments that it is before it is the app
 */
export function hasExecuted(pid: number, wrap: readonly string[] = []): boolean {
  try {
    const commandLine = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    if (commandLine === "") return existsSync(`/proc/${pid}/exe`);
    const isWrapper = (first: string, index: number) =>
      first.startsWith("/") && commandLine.startsWith(`${wrap.slice(index).join("\0")}\0`);
    return !commandLine.startsWith(OWN_COMMAND_LINE) && !wrap.some(isWrapper);
  } catch (error) {
    if (hasEnded(error)) return false;
    throw error;
  }
}
