import { execFile } from "node:child_process";
import { chmod, chown, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { promisify } from "node:util";
import type { AgentOptions } from "../model/agent";

/** Listens on the agent's socket: a stale one is replaced, a live one is an error. The mode is in force from the first moment. */
export async function listenOnSocket(server: Server, { socket, mode, owner, group }: AgentOptions): Promise<void> {
  if (await isLive(socket))
    throw new Error(`${socket} belongs to a running agent: stop that one, or use another socket`);
  await rm(socket, { force: true });
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(socket, () => resolve());
    });
  } finally {
    process.umask(umask);
  }
  if (owner !== undefined || group !== undefined) {
    const uid = owner === undefined ? -1 : await accountId("passwd", owner);
    const gid = group === undefined ? -1 : await accountId("group", group);
    await chown(socket, uid, gid);
  }
  await chmod(socket, Number.parseInt(mode, 8));
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
