import { readlink } from "node:fs/promises";
import { join } from "node:path";
import type { RecoveryItem } from "../../model/protocol/recovery";
import { allStats, commandOf, INSTANCE_VARIABLE, MARKER_VARIABLE, type ProcessStat } from "../processes/identity";
import { isUnreadable } from "../processes/proc-errors";
import { STATUS_FD } from "../processes/shim";
import { argvOf, environmentOf } from "../takeover/existing-processes";

const COMMAND_CHARACTERS = 200;

interface Marked {
  stat: ProcessStat;
  marker: string;
  id: string;
}

/**
 * What another agent left at this agent's state folder when its own was moved or deleted: processes that nothing supervises,
 * and that agent itself where it did not end. Known by what they were started with, since their records are gone.
 *
 * @param folder state folder of this agent
 */
export async function leftByFormerAgent(folder: string, marker: string): Promise<RecoveryItem[]> {
  const stats = await allStats();
  const marked = stats.flatMap((stat): Marked[] => {
    const { [MARKER_VARIABLE]: of, [INSTANCE_VARIABLE]: id } = environmentOf(stat.pid) ?? {};
    return of === undefined || id === undefined || of === marker ? [] : [{ stat, marker: of, id }];
  });
  const markers = new Set<string>();
  for (const each of marked) if (await liesIn(folder, each.stat.pid)) markers.add(each.marker);
  const left = marked.filter((each) => markers.has(each.marker));
  const items = left
    .filter(({ stat }) => isApp(stat))
    .map(({ stat, id }) => itemOf(stat, id, processMessage(stat, id)));
  return Promise.all([...items, ...stats.filter((stat) => isOtherAgent(folder, stat)).map(agentItem)]);
}

/** A shim leads the session of what it runs. */
function isApp({ parent, session }: ProcessStat): boolean {
  return parent === session;
}

/** Whether HAProxy's config of a process, or the status file that a shim holds open, has or had its path below a folder. */
async function liesIn(folder: string, pid: number): Promise<boolean> {
  const config = join(folder, "edges", "/");
  if (argvOf(pid).some((argument) => argument.startsWith(config))) return true;
  return (await statusFileOf(pid)).startsWith(join(folder, "processes", "/"));
}

/** Empty for a process without one, of another user, or that has ended. */
async function statusFileOf(pid: number): Promise<string> {
  try {
    return await readlink(`/proc/${pid}/fd/${STATUS_FD}`);
  } catch (error) {
    if (isUnreadable(error)) return "";
    throw error;
  }
}

function isOtherAgent(folder: string, { pid }: ProcessStat): boolean {
  return (
    pid !== process.pid &&
    argvOf(pid).includes(join(folder, "bin", "agent.cjs")) &&
    environmentOf(pid)?.[MARKER_VARIABLE] === undefined
  );
}

function processMessage({ pid }: ProcessStat, id: string): string {
  // HAProxy lets its requests end on this signal.
  const kill = id.startsWith("edge.") ? `kill -USR1 ${pid}` : `kill ${pid}`;
  return `process ${pid} is ${id} of an agent that had this state folder's path before: nothing supervises it; put that agent's folder back, or end it by ${kill}`;
}

function agentItem(stat: ProcessStat): Promise<RecoveryItem> {
  const message = `process ${stat.pid} is another agent of this state folder, which has not ended: end it by kill -KILL ${stat.pid}`;
  return itemOf(stat, "agent", message);
}

async function itemOf({ pid, startTime }: ProcessStat, id: string, message: string): Promise<RecoveryItem> {
  const command = (await commandOf(pid)).slice(0, COMMAND_CHARACTERS);
  return { kind: "former-agent", id, pid, startTime, command, message, ours: false };
}
