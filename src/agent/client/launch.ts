import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, copyFile, mkdir, open, rename } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { type AgentOptions, agentOptions } from "../../model/protocol/agent";
import { waitFor } from "../../support/waiting";
import type { About } from "../api/answers";
import { send } from "../processes/identity";
import { NEEDED } from "../state/needed";
import { assertSocketFolder, ensurePrivateFolder } from "../state/private-folder";
import { readIfThere, sizeOf, writeFileAtomic } from "../support/files";
import { AgentClient } from "./client";
import { UnreachableError } from "./connection";
import { GUARD, START } from "./scripts";

/** Time that an agent has to start and to bring up what was committed, in milliseconds. */
const START_DEADLINE_MS = 60_000;
const POLL_MS = 25;
/**
 * Variables of a deployment's environment that a daemon keeps: those about the user and the host, and nothing that may
 * be a credential.
 */
const KEPT_VARIABLE = /^(?:PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_[A-Z]+|TZ|TMPDIR|XDG_[A-Z_]+)$/;
/** Bytes of the agent's own output that a failed start shows. */
const TAIL_BYTES = 4096;

/** Options of an installed agent that are read here. */
const installed = z.object({ options: z.object({ socket: agentOptions.shape.socket }) });

/** An agent's program: the bundled file and its version. */
export interface AgentProgram {
  path: string;
  version: string;
}

/** Installs an agent's program and options into a state folder; a running agent is not touched. */
export async function installAgent(directory: string, options: AgentOptions, program: AgentProgram): Promise<void> {
  await ensurePrivateFolder(directory);
  await mkdir(join(directory, "bin"), { recursive: true, mode: 0o700 });
  await mkdir(dirname(options.socket), { recursive: true, mode: 0o755 });
  await assertSocketFolder(dirname(options.socket));
  const target = join(directory, "bin", "agent.cjs");
  const temporary = `${target}.${process.pid}`;
  await copyFile(program.path, temporary);
  await rename(temporary, target);
  await writeFileAtomic(join(directory, "bin", "start.sh"), START, 0o700);
  await writeFileAtomic(join(directory, "bin", "guard.sh"), GUARD, 0o700);
  await writeFileAtomic(
    join(directory, "agent.json"),
    `${JSON.stringify({ version: program.version, options })}\n`,
    0o600,
  );
}

/** Socket of the agent that is installed in a state folder; undefined if none is, or its options can't be read. */
export async function installedSocket(directory: string): Promise<string | undefined> {
  const text = await readIfThere(join(directory, "agent.json"));
  if (text === undefined) return undefined;
  try {
    return installed.parse(JSON.parse(text)).options.socket;
  } catch (error) {
    // The next update writes it again.
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

/** Whether everything is in a state folder without which its agent does not start again. */
export async function isInstalled(directory: string): Promise<boolean> {
  const found = await Promise.all(NEEDED.map((file) => exists(join(directory, file))));
  return found.every(Boolean);
}

/**
 * Starts an installed agent under its guard, detached, and waits until it answers.
 *
 * @param node Node.js that it runs by, as long as that is there
 */
export async function startAgent(
  directory: string,
  socket: string,
  signal: AbortSignal,
  node: string = process.execPath,
): Promise<About> {
  await ensurePrivateFolder(directory);
  const logPath = join(directory, "agent.log");
  const log = await open(logPath, "a", 0o600);
  const from = (await log.stat()).size;
  try {
    const guard = spawn("/bin/sh", [join(directory, "bin", "guard.sh"), directory, node], {
      cwd: directory,
      env: agentEnvironment(process.env),
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    const failed = new Promise<never>((_, reject) => guard.once("error", reject));
    guard.unref();
    try {
      return await Promise.race([
        failed,
        untilAnswering(socket, directory, { logPath, from, guard: guard.pid }, signal),
      ]);
    } catch (error) {
      if (guard.pid !== undefined) send(-guard.pid, "SIGKILL");
      throw error;
    }
  } finally {
    await log.close();
  }
}

/** Replaces a running agent by the version that is installed; its processes and traffic go on. */
export async function restartAgent(
  directory: string,
  socket: string,
  before: About,
  signal: AbortSignal,
): Promise<About> {
  const logPath = join(directory, "agent.log");
  // Skip the output of an earlier start: it is not the answer to this one.
  const from = await sizeOf(logPath);
  const client = new AgentClient(before.socket);
  try {
    await client.shutdown({ restart: before.guarded });
  } finally {
    client.close();
  }
  await untilGone(before, signal);
  return before.guarded
    ? untilAnswering(socket, directory, { logPath, from }, signal)
    : startAgent(directory, socket, signal);
}

/** Ends an agent; its processes go on, so callers remove what it runs first. */
export async function stopAgent(about: About, signal: AbortSignal): Promise<void> {
  const client = new AgentClient(about.socket);
  try {
    await client.shutdown({ restart: false });
  } finally {
    client.close();
  }
  await untilGone(about, signal);
}

/** Facts about the agent at a socket; `undefined` where none answers. */
export async function aboutAgent(socket: string): Promise<About | undefined> {
  const client = new AgentClient(socket);
  try {
    return await client.about();
  } catch (error) {
    if (error instanceof UnreachableError) return undefined;
    throw error;
  } finally {
    client.close();
  }
}

async function untilAnswering(
  socket: string,
  directory: string,
  log: { logPath: string; from: number; guard?: number | undefined },
  signal: AbortSignal,
): Promise<About> {
  signal.throwIfAborted();
  const answering = async () => {
    const about = await aboutAgent(socket);
    if (about !== undefined && resolve(about.directory) === resolve(directory)) return about;
    if (about !== undefined)
      throw new Error(
        `the agent of ${directory} can't start: ${socket} belongs to the running agent of ${about.directory} (process ${about.pid}): use another socket`,
      );
    const output = await outputSince(log);
    const refusal = new RegExp(`the agent of guard ${log.guard ?? "\\d+"} can't start: (.*)`).exec(output)?.[1];
    if (refusal !== undefined) throw new Error(`the agent of ${directory} can't start: ${refusal}`);
    return undefined;
  };
  const found = await waitFor(answering, { everyMs: POLL_MS, deadlineMs: START_DEADLINE_MS, signal });
  if (found !== undefined) return found;
  throw new Error(
    `the agent of ${directory} did not answer at ${socket} within ${START_DEADLINE_MS / 1000} s: ${await outputSince(log)}`,
  );
}

/** The environment of an agent that an update starts: without what the update itself was given, passphrases and tokens above all. */
function agentEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => KEPT_VARIABLE.test(name)));
}

async function outputSince({ logPath, from }: { logPath: string; from: number }): Promise<string> {
  const log = await open(logPath, "r");
  try {
    const { size } = await log.stat();
    // The guard cuts a log that has become long.
    const begin = Math.max(from > size ? 0 : from, size - TAIL_BYTES);
    const { buffer, bytesRead } = await log.read(Buffer.alloc(size - begin), 0, size - begin, begin);
    return buffer.subarray(0, bytesRead).toString("utf8");
  } finally {
    await log.close();
  }
}

async function untilGone({ pid, directory }: About, signal: AbortSignal): Promise<void> {
  const isGone = async () =>
    !(await exists(join("/proc", String(pid), "exe"))) || !(await exists(join(directory, "agent.pid")));
  if (!(await waitFor(isGone, { everyMs: POLL_MS, deadlineMs: START_DEADLINE_MS, signal })))
    throw new Error(
      `the agent with process id ${pid} did not end within ${START_DEADLINE_MS / 1000} s after it was asked to`,
    );
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch {
    return false;
  }
}
