import { readdir, readFile, readlink } from "node:fs/promises";
import { waitFor } from "../../../support/waiting";
import { allStats } from "../../processes/identity";
import { isUnreadable } from "../../processes/proc-errors";

/** Pause between two checks, in milliseconds. */
const POLL_MS = 100;
/** How the kernel's tables of sockets say that one listens. */
const LISTENS = "0A";

/** Waits until a process of a group listens on a TCP port itself, whoever else does. */
export async function untilListening(
  group: () => number | undefined,
  port: number,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<void> {
  const listens = async () => {
    const number = group();
    return number !== undefined && (await listensOn(number, port));
  };
  if (!(await waitFor(listens, { everyMs: POLL_MS, deadlineMs, signal })))
    throw new Error(
      `does not listen on port ${port} beside its predecessor within ${deadlineMs} ms: it must set SO_REUSEPORT`,
    );
}

async function listensOn(group: number, port: number): Promise<boolean> {
  const sockets = new Set(
    (await Promise.all(["tcp", "tcp6"].map((table) => listeners(table, port))))
      .flat()
      .map((inode) => `socket:[${inode}]`),
  );
  if (sockets.size === 0) return false;
  const members = (await allStats()).filter((stat) => stat.group === group);
  const held = await Promise.all(members.map(({ pid }) => descriptorsOf(pid)));
  return held.flat().some((descriptor) => sockets.has(descriptor));
}

/** Inodes of the sockets that listen on a port. */
async function listeners(table: string, port: number): Promise<string[]> {
  const rows = await readFile(`/proc/net/tcp${table === "tcp6" ? "6" : ""}`, "latin1").catch(absent);
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return (rows ?? "").split("\n").flatMap((row) => {
    const cells = row.trim().split(/\s+/);
    return cells[1]?.endsWith(local) && cells[3] === LISTENS ? [cells[9] ?? ""] : [];
  });
}

async function descriptorsOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const names = (await readdir(folder).catch(absent)) ?? [];
  const targets = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(absent)));
  return targets.flatMap((target) => (target === undefined ? [] : [target]));
}

/** A process may end, and a host may have no IPv6, at any moment. */
function absent(error: unknown): undefined {
  if (isUnreadable(error)) return undefined;
  throw error;
}
