import { chmod, chown, lstat } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import type { AgentOptions } from "../../model/protocol/agent";
import { findGroup, findUser } from "../../support/accounts";
import { ifThere } from "../support/files";
import { listenPrivately } from "../support/private-socket";

/** Listens on the agent's socket: a stale one is replaced, a live one is an error. The mode is in force from the first moment. */
export async function listenOnSocket(server: Server, { socket, mode, owner, group }: AgentOptions): Promise<void> {
  if (await isLive(socket))
    throw new Error(`${socket} belongs to a running agent: stop that one, or use another socket`);
  await assertSocket(socket);
  // Before it is there for anybody: an agent that can't give it away does not answer first and end then.
  const uid = owner === undefined ? -1 : (await known(findUser(owner), `user ${owner}`)).uid;
  const gid = group === undefined ? -1 : (await known(findGroup(group), `group ${group}`)).gid;
  await listenPrivately(server, socket);
  if (owner !== undefined || group !== undefined) await chown(socket, uid, gid);
  await chmod(socket, Number.parseInt(mode, 8));
}

/** Connecting to a plain file is refused just as to a stale socket, but that file is somebody's: it is not removed. */
async function assertSocket(path: string): Promise<void> {
  const found = await ifThere(lstat(path));
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
      else reject(new Error(`${socket} can't be checked: ${error.message}`));
    });
  });
}

async function known<T>(found: Promise<T | undefined>, subject: string): Promise<T> {
  const account = await found;
  if (account === undefined) throw new Error(`${subject} is not on this host: create it, or leave it out`);
  return account;
}
