import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { delimiter, resolve } from "node:path";
import { z } from "zod";
import { runningAs } from "../pools/launch/account";
import { hasEnded } from "../processes/proc-errors";
import { argvOf, environmentOf, streamsOf } from "./existing-processes";

/** Record of an existing process that lets it be started again. */
export const launchRecord = z.strictObject({
  argv: z.array(z.string()).min(1),
  /** The program's file, for a command that its environment's PATH does not lead to. */
  program: z.string(),
  cwd: z.string(),
  env: z.record(z.string(), z.string()),
  uid: z.int(),
  gid: z.int(),
  groups: z.array(z.int()),
  /** Files that its output went to, where it was files. */
  output: z.string().optional(),
  error: z.string().optional(),
});
export type LaunchRecord = z.output<typeof launchRecord>;

/** Writes down how a process was started. @throws where it can't be seen: then it could not be given back */
export function launchRecordOf(pid: number): LaunchRecord {
  const env = environmentOf(pid);
  const status = statusOf(pid);
  if (env === undefined || status === undefined)
    throw new Error(
      `process ${pid} can't be given back, since its environment can't be read: run the agent as root, or end it yourself`,
    );
  const { output, error } = streamsOf(pid);
  return {
    argv: argvOf(pid),
    program: link(pid, "exe"),
    cwd: link(pid, "cwd"),
    env,
    ...status,
    ...(output === undefined ? {} : { output }),
    ...(error === undefined ? {} : { error }),
  };
}

function statusOf(pid: number): Pick<LaunchRecord, "uid" | "gid" | "groups"> | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    const numbers = (name: string) =>
      (new RegExp(`^${name}:(.*)$`, "m").exec(text)?.[1] ?? "").trim().split(/\s+/).filter(Boolean).map(Number);
    return { uid: numbers("Uid")[1] ?? 0, gid: numbers("Gid")[1] ?? 0, groups: numbers("Groups") };
  } catch (error) {
    if (hasEnded(error)) return undefined;
    throw error;
  }
}

function link(pid: number, name: "exe" | "cwd"): string {
  return readlinkSync(`/proc/${pid}/${name}`).replace(/ \(deleted\)$/, "");
}

/**
 * Starts a process as its launch record says, in a session of its own, so that it outlives the agent. It has its
 * arguments, folder, environment, user, groups and output files again, and nothing else: no terminal, no pipes, no
 * parent that looks after it.
 *
 * @throws where it can't be started
 */
export async function startAgain(from: LaunchRecord): Promise<number> {
  const streams: FileHandle[] = [];
  try {
    const stream = async (path: string | undefined) => {
      if (path === undefined) return "ignore" as const;
      const handle = await open(path, "a");
      streams.push(handle);
      return handle.fd;
    };
    const stdio = ["ignore" as const, await stream(from.output), await stream(from.error)];
    const [first = "", ...rest] = from.argv;
    const [command = "", ...args] = [...runningAs(from), isFound(first, from) ? first : from.program, ...rest];
    const child = spawn(command, args, {
      cwd: from.cwd,
      env: from.env,
      detached: true,
      stdio,
    });
    await once(child, "spawn");
    child.unref();
    return child.pid ?? 0;
  } finally {
    await Promise.all(streams.map((handle) => handle.close()));
  }
}

/** Whether a program's name leads to it, by path or along the environment's PATH. */
function isFound(name: string, { cwd, env }: LaunchRecord): boolean {
  if (name.includes("/")) return existsSync(resolve(cwd, name));
  return (env.PATH ?? "").split(delimiter).some((folder) => existsSync(resolve(cwd, folder, name)));
}
