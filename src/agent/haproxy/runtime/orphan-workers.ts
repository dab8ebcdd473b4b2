import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf } from "../../../model/types/errors";
import { waitFor } from "../../../support/waiting";
import { KILL_DEADLINE_MS } from "../../processes/group";

/** Time that workers have to end by themselves after their master died, in milliseconds (measured: below 20). */
const ORPHAN_GRACE_MS = 500;
const PAUSE_MS = 20;

/**
 * Ends processes that still run a config file although their master is gone, so that nobody serves an old config beside
 * the new one. Workers end by themselves when their master dies; this is for those that cannot (stopped, stuck).
 *
 * @param owns whether a process was started by this agent; what others started is left alone
 * @returns the ids of the processes that had to be killed
 * @throws where one is not gone in time after SIGKILL, as one that waits for a disk
 */
export async function endOrphanWorkers(configPath: string, owns: (pid: number) => boolean): Promise<number[]> {
  const own = async () => (await runners(configPath)).filter(owns);
  const ended = async () => (await own()).length === 0;
  if (await waitFor(ended, { everyMs: PAUSE_MS, deadlineMs: ORPHAN_GRACE_MS })) return [];
  const orphans = await own();
  for (const pid of orphans) kill(pid);
  if (!(await waitFor(ended, { everyMs: PAUSE_MS, deadlineMs: KILL_DEADLINE_MS })))
    throw new Error(`HAProxy's workers ${orphans.join(", ")} survive SIGKILL: they wait for a disk or a device`);
  return orphans;
}

/** Throws where a HAProxy that another agent started runs with a config file of the same path: its traffic is not ours to end. */
export async function assertNoForeign(configPath: string, owns: (pid: number) => boolean): Promise<void> {
  const notOwned = async () => (await runners(configPath)).filter((pid) => !owns(pid));
  const suspects = await notOwned();
  if (suspects.length === 0) return;
  // A process that starts or ends has no environment for a moment, so that nobody seems to own it.
  await sleep(ORPHAN_GRACE_MS);
  const foreign = (await notOwned()).filter((pid) => suspects.includes(pid));
  if (foreign.length > 0)
    throw new Error(
      `HAProxy of another agent, whose state folder was moved or lost, runs with ${configPath} (processes ${foreign.join(", ")}): put that folder back, or end it by kill -USR1 ${foreign.join(" ")}`,
    );
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

/** Processes that were started with `-f <config file>`; a zombie has no command line. */
async function runners(configPath: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return line.includes(`\0-f\0${configPath}\0`) && line.includes("\0-W\0") ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}
