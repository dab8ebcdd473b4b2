import { findGroup, findUser, groupsOf } from "../../../support/accounts";
import { toolPath } from "../../../support/host-tools";

/** A user of the host, and the groups to run with. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
  /** Its supplementary groups, its own among them; none for a number that the host does not know. */
  groups: number[];
}

/**
 * Looks a user up, by name or number, together with its groups as they are now.
 *
 * @param group by name or number. @default the user's own
 * @throws in a sentence where there is none, or this process may not become it
 */
export async function accountOf(user: string, group?: string): Promise<Account> {
  const found = await findUser(user);
  const uid = found?.uid ?? numberOf(user);
  if (uid === undefined || (found === undefined && group === undefined))
    throw new Error(
      `user ${user} does not exist on this host: create it, or use another${uid === undefined ? "" : "; a number without an account needs a group, too"}`,
    );
  const gid = group === undefined ? (found?.gid ?? uid) : await groupIdOf(group);
  const me = process.getuid?.();
  if (me !== 0 && (me !== uid || process.getgid?.() !== gid))
    throw new Error(
      `the agent runs as user ${me} and can't start anything as user ${user}: run the agent as root, or leave user out`,
    );
  return {
    name: found?.name ?? user,
    uid,
    gid,
    home: found?.home ?? "/",
    groups: found === undefined ? [] : await groupsOf(found),
  };
}

async function groupIdOf(group: string): Promise<number> {
  const gid = (await findGroup(group))?.gid ?? numberOf(group);
  if (gid === undefined) throw new Error(`group ${group} does not exist on this host: create it, or use another`);
  return gid;
}

function numberOf(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Prefix that runs a command as an account: it takes its groups and drops all rights before the program starts. */
export function runningAs({ uid, gid, groups }: Pick<Account, "uid" | "gid" | "groups">): string[] {
  // There is nothing to drop, and setpriv would need a right.
  if (process.getuid?.() === uid && process.getgid?.() === gid && uid !== 0) return [];
  const list = groups.length === 0 ? "--clear-groups" : `--groups=${groups.join(",")}`;
  return [toolPath("setpriv"), `--reuid=${uid}`, `--regid=${gid}`, list, "--"];
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
