import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

/** Time for a look at the host's accounts, which may come over the network, in milliseconds. */
const GETENT_MS = 10_000;
/** Folders of the host's own tools, whatever PATH a process is given. */
const FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/** Exit code of getent for a name that it does not find. */
const NOT_FOUND = 2;

/** A user of the host, and the group to run with. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
  /** Whether the host knows its supplementary groups. */
  known: boolean;
}

/**
 * Looks a user up, by name or number.
 *
 * @param group by name or number. @default the user's own
 * @throws in a sentence where there is none, or this process may not become it
 */
export async function accountOf(user: string, group?: string): Promise<Account> {
  const [name, , uid, gid, , home] = (await entry("passwd", user)) ?? [];
  const number = /^\d+$/.test(user) ? Number(user) : undefined;
  if (uid === undefined && (number === undefined || group === undefined))
    throw new Error(
      `user ${user} does not exist on this host: create it, or use another${number === undefined ? "" : "; a number without an account needs a group, too"}`,
    );
  const found: Account = {
    name: name ?? user,
    uid: Number(uid ?? number),
    gid: group === undefined ? Number(gid) : await groupOf(group),
    home: home === undefined || home === "" ? "/" : home,
    known: uid !== undefined,
  };
  const me = process.getuid?.();
  if (me !== 0 && (me !== found.uid || process.getgid?.() !== found.gid))
    throw new Error(
      `the agent runs as user ${me} and can't start anything as user ${user}: run the agent as root, or leave user out`,
    );
  return found;
}

async function groupOf(group: string): Promise<number> {
  const [, , gid] = (await entry("group", group)) ?? [];
  if (gid !== undefined) return Number(gid);
  if (/^\d+$/.test(group)) return Number(group);
  throw new Error(`group ${group} does not exist on this host: create it, or use another`);
}

async function entry(database: "passwd" | "group", key: string): Promise<string[] | undefined> {
  try {
    const { stdout } = await promisify(execFile)(toolPath("getent"), [database, key], { timeout: GETENT_MS });
    return stdout.trimEnd().split("\n")[0]?.split(":");
  } catch (error) {
    if ((error as { code?: unknown }).code === NOT_FOUND) return undefined;
    throw new Error(`the accounts of this host can't be looked up: ${(error as Error).message}`, { cause: error });
  }
}

/** Prefix that runs a command as an account: it takes its groups and drops all rights before the program starts. */
export function runningAs({ uid, gid, known }: Account): string[] {
  // Nothing to drop, and no right needed for it.
  if (process.getuid?.() === uid && process.getgid?.() === gid && uid !== 0) return [];
  return [toolPath("setpriv"), `--reuid=${uid}`, `--regid=${gid}`, known ? "--init-groups" : "--clear-groups", "--"];
}

/** Prefix that limits a command, before it becomes another user. */
export function limitedBy({ files, core }: { files?: number | undefined; core?: number | undefined }): string[] {
  if (files === undefined && core === undefined) return [];
  return [
    toolPath("prlimit"),
    ...(files === undefined ? [] : [`--nofile=${files}:${files}`]),
    ...(core === undefined ? [] : [`--core=${core}:${core}`]),
    "--",
  ];
}

/** Path of one of the host's own tools. @throws where it is not installed */
export function toolPath(tool: "getent" | "prlimit" | "setpriv"): string {
  const path = FOLDERS.map((folder) => `${folder}/${tool}`).find((each) => existsSync(each));
  if (path !== undefined) return path;
  const from = tool === "getent" ? "libc-bin" : "util-linux";
  throw new Error(`${tool} is not installed on this host (looked in ${FOLDERS.join(", ")}): install ${from}`);
}
