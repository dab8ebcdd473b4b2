import { execFile } from "node:child_process";
import { chmod, chown, lstat, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { promisify } from "node:util";
import type { AgentOptions } from "../../model/protocol/agent";

/** Listens on the agent's socket: a stale one is replaced, a live one is an error. The mode is in force from the first moment. */
export async function listenOnSocket(server: Server, { socket, mode, owner, group }: AgentOptions): Promise<void> {
  if (await isLive(socket))
    throw new Error(`${socket} belongs to a running agent: stop that one, or use another socket`);
  await assertSocket(socket);
  // Before it is there for anybody: an agent that can't give it away does not answer first and end then.
  const uid = owner === undefined ? -1 : await accountId("passwd", owner);
  const gid = group === undefined ? -1 : await accountId("group", group);
  await rm(socket, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // The socket is bound within this call; nothing else may create its files under this mask.
    const umask = process.umask(0o177);
    try {
      server.listen(socket, () => resolve());
    } finally {
      process.umask(umask);
    }
  });
  if (owner !== undefined || group !== undefined) await chown(socket, uid, gid);
  await chmod(socket, Number.parseInt(mode, 8));
}

/** Connecting to a plain file is refused just as to a stale socket, but that file is somebody's: it is not removed. */
async function assertSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found !== undefined && !found.isSocket())
    throw new Error(`${path} is there already and is not a socket: use another path for the agent's socket`);
}

/** Whether somebody listens on a socket. */
export function isLive(socket: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(false);
      else reject(new Error(`${socket} can't be looked at: ${error.message}`));
    });
  });
}

async function accountId(database: "passwd" | "group", name: string): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)("getent", [database, name]);
    const id = Number(stdout.split(":")[2]);
    if (Number.isInteger(id)) return id;
  } catch (error) {
    throw new Error(
      `${database === "passwd" ? "user" : "group"} ${name} is not on this host: create it, or leave it out`,
      { cause: error },
    );
  }
  throw new Error(`${database} entry of ${name} has no id`);
}
