import { waitFor } from "../../support/waiting";
import {
  allStats,
  findMarked,
  type Identity,
  instanceOf,
  isAlive,
  type ProcessStat,
  send,
  signalProcess,
} from "./identity";

/** How long what an app leaves behind in its group may take to end by itself after SIGTERM, in milliseconds. */
const LEFTOVER_GRACE_MS = 1000;
/** How long a process may take to be gone after SIGKILL, in milliseconds; one that waits for a disk can take longer. */
export const KILL_DEADLINE_MS = 10_000;
const POLL_MS = 5;
/** How long a shim that has written its last line may take to be gone, in milliseconds. */
const SHIM_END_MS = 50;

/** A process group that a shim leads or led. */
export interface Group {
  shim: Identity;
  marker: string;
  id: string;
  /**
   * Whether its app was seen alive by this agent. A group's number stays taken while the group has members, so one that
   * has been watched to the end is ours; of another one, a member must carry the marker.
   */
  watched: boolean;
}

/** Sends SIGKILL to the group, shim included. @returns whether there was such a group of ours */
export async function killGroup(group: Group): Promise<boolean> {
  if (!isAlive(group.shim) && (await membersOf(group)).length === 0) return false;
  return send(-group.shim.pid, "SIGKILL");
}

/**
 * Ends what an app that is gone has left behind in its group: SIGTERM, and after a second SIGKILL.
 *
 * @returns the pids that were left, usually none
 * @throws when members survive SIGKILL
 */
export async function clearGroup(group: Group): Promise<number[]> {
  const { shim } = group;
  await waitFor(() => !send(-shim.pid, 0) || !isAlive(shim), { everyMs: POLL_MS, deadlineMs: SHIM_END_MS });
  if (!send(-shim.pid, 0)) return [];
  const left = await membersOf(group);
  if (left.length === 0) {
    signalProcess(shim, "SIGKILL");
    return [];
  }
  send(-shim.pid, "SIGTERM");
  if (!(await isCleared(group, LEFTOVER_GRACE_MS))) {
    await killGroup(group);
    if (!(await isCleared(group, KILL_DEADLINE_MS))) throw new Error(survivors(group.id, await membersOf(group)));
  }
  return left.map(({ pid }) => pid);
}

/**
 * Kills every process that carries the marker for this id, wherever it has gone to.
 *
 * @returns the pids killed, usually none
 * @throws when some survive SIGKILL
 */
export async function killMarked(marker: string, id: string): Promise<number[]> {
  const killed = new Set<number>();
  let left: readonly Identity[] = [];
  const killUntilGone = async () => {
    left = (await findMarked(marker)).filter((found) => found.id === id);
    for (const identity of left) if (signalProcess(identity, "SIGKILL")) killed.add(identity.pid);
    return left.length === 0;
  };
  if (!(await waitFor(killUntilGone, { everyMs: POLL_MS, deadlineMs: KILL_DEADLINE_MS })))
    throw new Error(survivors(id, left));
  return [...killed];
}

/** Live members but the shim. */
async function membersOf({ shim, marker, id, watched }: Group): Promise<ProcessStat[]> {
  const stats = await allStats();
  if (stats.some(({ pid, startTime }) => pid === shim.pid && startTime !== shim.startTime)) return [];
  const members = stats.filter(
    ({ pid, group, session, startTime }) =>
      pid !== shim.pid && group === shim.pid && session === shim.pid && Number(startTime) >= Number(shim.startTime),
  );
  if (watched || members.length === 0 || isAlive(shim)) return members;
  return members.some(({ pid }) => instanceOf(pid, marker) === id) ? members : [];
}

async function isCleared(group: Group, withinMs: number): Promise<boolean> {
  const isEmpty = async () => !send(-group.shim.pid, 0) || (await membersOf(group)).length === 0;
  return (await waitFor(isEmpty, { everyMs: POLL_MS, deadlineMs: withinMs })) === true;
}

function survivors(id: string, left: readonly Identity[]): string {
  const pids = left.map(({ pid }) => pid).join(", ");
  return `processes of ${id} survive SIGKILL (pid ${pids}): they wait for a disk or a device; look at /proc/<pid>/stack`;
}
