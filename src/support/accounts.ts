import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { findTool, type HostTool, toolPath } from "./host-tools";
import { withTimeout } from "./waiting";

/** Time for one look at the host's accounts, which may come over the network, in milliseconds. */
const LOOKUP_MS = 10_000;
/** Exit code of getent for a name that it does not find. */
const NOT_FOUND = 2;
/** Names that every source of accounts takes, those of directories included; none can be read as an option. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@\\+ -]{0,255}\$?$/;

export interface User {
  name: string;
  uid: number;
  /** Its own group. */
  gid: number;
  home: string;
}

export interface Group {
  name: string;
  gid: number;
}

/**
 * Looks a user up, by name or number, wherever the host's accounts come from (files, LDAP, SSSD).
 *
 * @throws where the accounts can't be looked up, which says nothing about the user
 */
export async function findUser(key: string): Promise<User | undefined> {
  const [name, , uid, gid, , home] = (await entry("passwd", key)) ?? [];
  if (name === undefined) return undefined;
  return { name, uid: number(uid, `user ${key}`), gid: number(gid, `user ${key}`), home: home || "/" };
}

/** Looks a group up, by name or number, as `findUser` does. */
export async function findGroup(key: string): Promise<Group | undefined> {
  const [name, , gid] = (await entry("group", key)) ?? [];
  return name === undefined ? undefined : { name, gid: number(gid, `group ${key}`) };
}

/** Numbers of all groups of a user: its own, and the supplementary ones. */
export async function groupsOf({ name }: User): Promise<number[]> {
  // Sample: `1000 27 998`. getent's "initgroups" gives the same without the user's own group, and only glibc's has it.
  const output = await run("id", ["-G", "--", name]);
  return output.split(/\s+/).map((gid) => number(gid, `groups of user ${name}`));
}

/**
 * Number of the group that is a user's alone, as most Linux distributions give one to each person: of the same name, and
 * without other members. Undefined for root, whose group others may have as their own.
 */
export async function privateGroupOf(uid: number): Promise<number | undefined> {
  const user = uid === 0 ? undefined : await findUser(String(uid));
  if (user === undefined) return undefined;
  const [name, , , members = ""] = (await entry("group", String(user.gid))) ?? [];
  return name === user.name && ["", name].includes(members) ? user.gid : undefined;
}

/** Fields of an account's line. Sample: `www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin` */
async function entry(database: "passwd" | "group", key: string): Promise<string[] | undefined> {
  if (!NAME.test(key)) return undefined;
  // Without getent, as in images of musl, these files are the only sources.
  const line =
    findTool("getent") === undefined
      ? lineOf(await readFile(`/etc/${database}`, "utf8"), key)
      : await getent(database, key);
  return line?.split(":");
}

function lineOf(file: string, key: string): string | undefined {
  const column = /^\d+$/.test(key) ? 2 : 0;
  return file.split("\n").find((line) => line.split(":")[column] === key);
}

async function getent(database: "passwd" | "group", key: string): Promise<string | undefined> {
  try {
    return (await run("getent", [database, key])).split("\n")[0];
  } catch (error) {
    if (((error as Error).cause as { code?: unknown } | undefined)?.code === NOT_FOUND) return undefined;
    throw error;
  }
}

/** Trimmed output of one of the host's tools. One that hangs, as on a dead directory, is killed and not waited for. */
async function run(tool: HostTool, args: string[]): Promise<string> {
  const hung = new AbortController();
  try {
    const done = promisify(execFile)(toolPath(tool), args, { signal: hung.signal, killSignal: "SIGKILL" });
    const { stdout } = await withTimeout(done, LOOKUP_MS, () => {
      throw new Error(`${tool} has not answered within ${LOOKUP_MS / 1000} s`);
    });
    return stdout.trim();
  } catch (error) {
    // A hung lookup ends only by this abort, which does nothing to one that has ended.
    hung.abort();
    throw new Error(`the accounts of this host can't be looked up: ${(error as Error).message.trim()}`, {
      cause: error,
    });
  }
}

function number(text: string | undefined, subject: string): number {
  if (text !== undefined && /^\d+$/.test(text)) return Number(text);
  throw new Error(`the accounts of this host can't be looked up: ${subject} has the number ${JSON.stringify(text)}`);
}
