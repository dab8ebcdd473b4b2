import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { codeOf } from "../../src/model/types/errors";
import { until } from "../../test/support/until";
import type { Scope } from "./scope";

/** Clock ticks per second of /proc/<pid>/stat: 100 on every Linux that Node.js runs on. */
const TICKS = 100;

export interface Started {
  pid: number;
  /** Its standard error so far. */
  errors(): string;
}

/**
 * Starts a program in a session of its own, as a service manager does (the scheduler shares the CPU by sessions), and ends
 * its process group at the end of the scope.
 */
export function start(scope: Scope, argv: readonly [string, ...string[]], env: Record<string, string> = {}): Started {
  const [program, ...args] = argv;
  const child = spawn(program, args, {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  const { pid } = child;
  let output = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output = (output + text).slice(-10_000);
  });
  const gone = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => resolve());
  });
  gone.catch((error: Error) => {
    output += error.message;
  });
  if (pid === undefined) throw new Error(`${program} can't be started: is it installed?`);
  scope.after(async () => {
    end(-pid);
    await gone;
  });
  return { pid, errors: () => output };
}

/** Sends SIGKILL to a process, or to a process group by its negative number. One that is gone is no error. */
export function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

/** Waits until a URL answers with 200. */
export async function answers(url: string, what: string, output: () => string = () => ""): Promise<void> {
  try {
    await until(
      `${what} to answer`,
      async () => (await fetch(url, { headers: { connection: "close" } })).status === 200,
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}; it said: ${output() || "nothing"}`, { cause: error });
  }
}

/** CPU time that a process has used so far, in seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Likewise, by the scheduler's own account, which is exact enough for seconds in which little happens. */
export function exactCpuSeconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]),
  );
  return nanoseconds.reduce((sum, one) => sum + one, 0) / 1e9;
}

/** Resident memory of a process, and its share of it (pages that n processes share count 1/n), in MiB. */
export function memory(pid: number): { rss: number; pss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) / 1024;
  return { rss: field("Rss"), pss: field("Pss") };
}
