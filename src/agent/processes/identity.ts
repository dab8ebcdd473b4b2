import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { singleFlight } from "../support/single-flight";
import { hasEnded, isUnreadable } from "./proc-errors";

/** Environment variable that every process of an agent carries, with all its descendants: the agent's id. */
export const MARKER_VARIABLE = "SLUICE_AGENT";
/** Environment variable with the id of the process host's record that a process belongs to. */
export const INSTANCE_VARIABLE = "SLUICE_INSTANCE";

/**
 * How many files of /proc are read before others get their turn. They are in memory, so reading them at once costs a fraction
 * of what it costs by way of the thread pool.
 */
const READS_PER_TURN = 50;

/** Names a process for as long as the host is up: a pid alone is reused. */
export interface Identity {
  pid: number;
  /** Clock ticks since the host's boot, as /proc/<pid>/stat says (field 22). */
  startTime: string;
}

/** The fields of /proc/<pid>/stat that matter here. */
export interface ProcessStat extends Identity {
  /** `Z` (zombie) and `X` count as dead. */
  state: string;
  parent: number;
  group: number;
  session: number;
}

/** A live process that carries a marker. */
export interface Marked extends Identity {
  /** Value of SLUICE_INSTANCE. */
  id: string;
}

/**
 * Reads a line of /proc/<pid>/stat. The second field is the program's name in parentheses and may itself hold spaces and
 * parentheses, so the fields are counted after the last one.
 */
export function parseStat(text: string): ProcessStat | undefined {
  const close = text.lastIndexOf(")");
  const pid = Number.parseInt(text, 10);
  const [state, parent, group, session, ...rest] = text.slice(close + 2).split(" ");
  const startTime = rest[15];
  if (close < 0 || !(pid > 0) || state === undefined || startTime === undefined || !/^\d+$/.test(startTime))
    return undefined;
  return { pid, state, parent: Number(parent), group: Number(group), session: Number(session), startTime };
}

/** The kernel gives the line in one read; it has 52 fields of at most 20 digits. Shared, as this is read often. */
const statBuffer = Buffer.alloc(2048);

/** Undefined when there is no such process. */
export function readStat(pid: number): ProcessStat | undefined {
  let file: number | undefined;
  try {
    file = openSync(`/proc/${pid}/stat`, "r");
    return parseStat(statBuffer.toString("latin1", 0, readSync(file, statBuffer)));
  } catch (error) {
    if (hasEnded(error)) return undefined;
    throw error;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

export function isDead({ state }: ProcessStat): boolean {
  return state === "Z" || state === "X";
}

/** Whether this very process runs: neither gone, nor a zombie, nor another one with its pid. */
export function isAlive(identity: Identity): boolean {
  const stat = readStat(identity.pid);
  return stat !== undefined && stat.startTime === identity.startTime && !isDead(stat);
}

/** Signals the process if it still is the one meant. @returns whether it was */
export function signalProcess(identity: Identity, signal: NodeJS.Signals): boolean {
  return isAlive(identity) && send(identity.pid, signal);
}

/** @param pid negative for a process group @returns false when there is no such process or group */
export function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if (hasEnded(error)) return false;
    throw error;
  }
}

/** Changes at each boot; start times are comparable within one boot only. */
export async function readBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "latin1")).trim();
}

/** By marker: many who ask at once, as those who end the processes of a release, share one look. */
const searches = new Map<string, () => Promise<readonly Marked[]>>();

/** Live processes with this marker in their environment (this process itself excepted), by reading the whole of /proc. */
export function findMarked(marker: string): Promise<readonly Marked[]> {
  const look = searches.get(marker) ?? singleFlight(() => searchMarked(marker));
  searches.set(marker, look);
  return look();
}

async function searchMarked(marker: string): Promise<readonly Marked[]> {
  const found: Marked[] = [];
  for (const [i, { pid, startTime }] of (await allStats()).entries()) {
    if (i % READS_PER_TURN === READS_PER_TURN - 1) await setImmediate();
    const id = pid === process.pid ? undefined : instanceOf(pid, marker);
    if (id !== undefined) found.push({ pid, startTime, id });
  }
  return found;
}

/** Every live process of the host. */
export const allStats: () => Promise<readonly ProcessStat[]> = singleFlight(readAllStats);

async function readAllStats(): Promise<readonly ProcessStat[]> {
  const stats: ProcessStat[] = [];
  for (const [i, name] of (await readdir("/proc")).entries()) {
    if (i % READS_PER_TURN === READS_PER_TURN - 1) await setImmediate();
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined;
    if (stat !== undefined && !isDead(stat)) stats.push(stat);
  }
  return stats;
}

/**
 * The id that a process with this marker carries. Undefined for everybody else, including processes of other users, whose
 * environment cannot be read, and processes that have overwritten theirs (to change their title).
 */
export function instanceOf(pid: number, marker: string): string | undefined {
  let environment: string[];
  try {
    environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
  if (!environment.includes(`${MARKER_VARIABLE}=${marker}`)) return undefined;
  const prefix = `${INSTANCE_VARIABLE}=`;
  return environment.find((variable) => variable.startsWith(prefix))?.slice(prefix.length);
}

/** The command line, arguments separated by spaces; empty for a process that is gone. */
export async function commandOf(pid: number): Promise<string> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").join(" ").trim();
  } catch (error) {
    if (hasEnded(error)) return "";
    throw error;
  }
}
