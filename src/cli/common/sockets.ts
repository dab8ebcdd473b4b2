import { lstat, readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { codeOf } from "../../model/types/errors";
import { NotReached, UsageError } from "./exit";

/** Socket of an agent that systemd runs. */
export const SYSTEM_SOCKET = "/run/sluice/agent.sock";

/** Socket of the agent that a verb is about: what is given, else the environment's, else the only one that is found. */
export async function chooseSocket(
  given: string | undefined,
  { env, cwd }: { env: Record<string, string | undefined>; cwd: string },
): Promise<string> {
  const named = given ?? (env.SLUICE_SOCKET === "" ? undefined : env.SLUICE_SOCKET);
  if (named !== undefined) return named;
  const found = await findSockets(cwd);
  return onlyOne(
    found,
    "on this host",
    `looked for ${SYSTEM_SOCKET}, and for .sluice/hosts/*/agent.sock from ${cwd} upwards`,
  );
}

/** The one socket of those found. @throws NotReached where there is none, UsageError where there are more */
export function onlyOne(found: readonly string[], where: string, searched: string): string {
  const [first, ...others] = found;
  if (first === undefined)
    throw new NotReached(
      `no agent's socket was found ${where} (${searched}): start the agent (pulumi up, or systemctl start sluice-agent), or name its socket with --socket or SLUICE_SOCKET`,
    );
  if (others.length > 0)
    throw new UsageError([`there are several agents ${where} (${found.join(", ")}): name one with --socket`]);
  return first;
}

/** Sockets of agents that may be meant: those of the project around a folder, and the system's. */
async function findSockets(cwd: string): Promise<string[]> {
  const candidates = [SYSTEM_SOCKET];
  for (let folder = cwd; ; folder = dirname(folder)) {
    const hosts = join(folder, ".sluice", "hosts");
    for (const name of await namesIn(hosts)) candidates.push(join(hosts, name, "agent.sock"));
    if (folder === dirname(folder)) break;
  }
  const there = await Promise.all(candidates.map(isSocket));
  return candidates.filter((_, index) => there[index]);
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).toSorted();
  } catch (error) {
    // Not a project, or one of somebody else.
    if (["ENOENT", "ENOTDIR", "EACCES"].includes(codeOf(error) ?? "")) return [];
    throw error;
  }
}

async function isSocket(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSocket();
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}

/** Why nobody answers at a socket of this host, with the remedy; `undefined` where somebody accepts connections. */
export async function whyNotAnswering(socket: string): Promise<string | undefined> {
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(undefined);
    });
    connection.once("error", resolve);
  });
  if (error === undefined) return undefined;
  switch (error.code) {
    case "ENOENT":
      return (await isBound(socket))
        ? `the agent that listens on ${socket} runs, but that socket was deleted, and maybe its whole state folder, so that nothing can be changed: put the folder back, and end that agent by kill -KILL, so that its guard starts the next one`
        : `there is no agent's socket at ${socket}: start the agent (pulumi up, or systemctl start sluice-agent), or name another with --socket`;
    case "ECONNREFUSED":
      return (await isSocket(socket))
        ? `the socket ${socket} is left over from an agent that has ended: start it again (pulumi up, or systemctl start sluice-agent); until then nothing supervises its processes and traffic`
        : `${socket} is not a socket: name the agent's socket with --socket`;
    case "ENOTSOCK":
      return `${socket} is not a socket: name the agent's socket with --socket`;
    case "EACCES":
    case "EPERM":
      return `you may not use the agent's socket ${socket} (${await ownership(socket)}): run this as its owner, or let the Agent resource give you access with its group and mode`;
    default:
      return `the agent's socket ${socket} can't be used: ${error.message}`;
  }
}

/** Whether a process has a socket at a path, which may be deleted: the kernel still knows its name. */
async function isBound(path: string): Promise<boolean> {
  const lines = (await readFile("/proc/net/unix", "utf8")).split("\n");
  return lines.some((line) => line.endsWith(` ${path}`));
}

async function ownership(path: string): Promise<string> {
  try {
    const { uid, gid, mode } = await lstat(path);
    return `mode ${(mode & 0o7777).toString(8).padStart(4, "0")}, user ${uid}, group ${gid}`;
  } catch (error) {
    return `its folder is closed to you: ${codeOf(error) ?? String(error)}`;
  }
}
