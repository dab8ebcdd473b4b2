import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { commandLine, type NamedProcess, type TakeoverEntry, titleOf } from "../../model/process/takeover";
import { codeOf } from "../../model/types/errors";
import { allStats, type Identity, MARKER_VARIABLE, type ProcessStat } from "../processes/identity";
import { holdersOf, type ListeningSocket, listeningSockets } from "../processes/listeners";
import { isUnreadable } from "../processes/proc-errors";
import { showUnit, type UnitNow } from "./systemd";

/** Clock ticks per second in /proc: a constant of Linux's interface (USER_HZ). */
const TICKS = 100;
/**
 * Tolerance of a pid file's time before its process's start, in milliseconds: the resolutions of the file system and of
 * /proc.
 */
const CLOCK_SLACK_MS = 2000;
/** The unit under which a user's own systemd runs, with that user's units below it. */
const USER_MANAGER = /^user@\d+\.service$/;

/** A process that was started without Sluice. */
export interface ExistingProcess extends Identity {
  argv: string[];
  /** ISO 8601. */
  since: string;
  uid: number;
  listens: ListeningSocket[];
  /** Whether it ends with another one that is asked to: a worker of its master. */
  follows: boolean;
  parent: number;
  /** The unit that it was found by. */
  unit?: string | undefined;
}

/** Existing processes that match an entry now. */
export interface TakeoverMatch {
  entry: TakeoverEntry;
  processes: ExistingProcess[];
  /** Why there is nothing to take over, where there is not. */
  nothing?: string | undefined;
  /** Problems of taking the matches over. */
  problems: string[];
  /** Steps that people must take themselves. */
  advice: string[];
}

export interface FindOptions {
  /** The edge or pool that takes over: its own processes are no existing ones to take over. */
  target: string;
  /** The agent's marker. */
  marker: string;
  /** Whether a missing process is a mistake in the declaration: so until it was taken over. */
  strict: boolean;
}

/** Finds the processes that entries name. Changes nothing. */
export async function findExisting(entries: readonly TakeoverEntry[], options: FindOptions): Promise<TakeoverMatch[]> {
  const [stats, sockets] = await Promise.all([allStats(), listeningSockets()]);
  const holders = await holdersOf(new Set(sockets.map(({ inode }) => inode)));
  const host = { stats: new Map(stats.map((each) => [each.pid, each])), sockets, holders, bootAt: bootTime() };
  return Promise.all(entries.map((entry) => findOne(entry, host, options)));
}

interface HostNow {
  stats: Map<number, ProcessStat>;
  sockets: ListeningSocket[];
  holders: Map<string, number[]>;
  /** In milliseconds since the epoch. */
  bootAt: number;
}

async function findOne(entry: TakeoverEntry, host: HostNow, options: FindOptions): Promise<TakeoverMatch> {
  const { pids, nothing, problem, advice = [] } = await matchingPids(entry, host, options);
  if (problem !== undefined) return { entry, processes: [], problems: [problem], advice };
  const own = ownProcess(options);
  const ours = pids.filter((pid) => own(pid) === "target's");
  const found = withMasters(
    pids.filter((pid) => !ours.includes(pid)),
    host,
  ).flatMap(({ pid, follows }) => describe(pid, follows, host, entry.unit) ?? []);
  const problems = [...found.flatMap((one) => problemsOf(one, entry, own) ?? []), ...portProblems(found, entry)];
  return {
    entry,
    processes: found,
    problems,
    advice,
    ...(found.length > 0 ? {} : { nothing: nothing ?? `nothing runs that ${titleOf(entry)} names` }),
  };
}

/** The ids that an entry's first condition leads to. */
async function matchingPids(
  entry: TakeoverEntry,
  host: HostNow,
  { strict }: FindOptions,
): Promise<{ pids: number[]; nothing?: string; problem?: string; advice?: string[] }> {
  const { unit, pidFile, port, command } = entry;
  if (unit !== undefined) {
    const shown = await showUnit(unit);
    if ("problem" in shown) return strict ? { pids: [], problem: shown.problem } : { pids: [], nothing: shown.problem };
    if (shown.activeState === "inactive" || shown.activeState === "failed")
      return { pids: [], nothing: `unit ${unit} is ${shown.activeState}` };
    const pids = [...host.stats.keys()].filter((pid) => unitOf(pid) === shown.id);
    if (pids.length > 0 && shown.refusal !== undefined) return { pids, problem: shown.refusal };
    if (pids.length > 0) return { pids, advice: [...comesBack(unit, shown), ...stopsToo(unit, shown)] };
    const remedy =
      shown.activeState === "active" ? "name what runs instead" : `wait until it runs, or systemctl stop ${unit}`;
    return { pids, problem: `unit ${unit} is ${shown.activeState}, but has no process: ${remedy}` };
  }
  if (pidFile !== undefined) return byPidFile(pidFile, host);
  if (port !== undefined) return byPort(port, host);
  const same = [...host.stats.keys()].filter((pid) => isDeepStrictEqual(argvOf(pid), command));
  return { pids: same };
}

/** Triggers that would start a unit again: the host's next boot, or another unit. */
export function comesBack(unit: string, { unitFileState, triggers }: UnitNow): string[] {
  const once = "once it is taken over";
  return [
    ...(/^(enabled|linked|alias)/.test(unitFileState)
      ? [`the host's next boot starts unit ${unit} again: systemctl disable ${unit} ${once}`]
      : []),
    ...triggers.map((name) => `unit ${name} starts unit ${unit} again: systemctl disable --now ${name} ${once}`),
  ];
}

function stopsToo(unit: string, { dependents }: UnitNow): string[] {
  return dependents.map(
    (name) =>
      `systemd stops unit ${name} with unit ${unit}, and does not start it with that: name it, too, if it is to be given back`,
  );
}

async function byPidFile(path: string, { stats, bootAt }: HostNow) {
  let text: string;
  let writtenAt: number;
  try {
    text = await readFile(path, "utf8");
    writtenAt = (await stat(path)).mtimeMs;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { pids: [], nothing: `there is no pid file ${path}` };
    return { pids: [], problem: `pid file ${path} can't be read (${codeOf(error)}): let the agent's user read it` };
  }
  const pid = /^\s*(\d+)\s*$/.exec(text.split("\n")[0] ?? "")?.[1];
  if (pid === undefined) return { pids: [], problem: `pid file ${path} holds no process id: name another file` };
  const found = stats.get(Number(pid));
  if (found === undefined) return { pids: [], nothing: `process ${pid} of pid file ${path} does not run` };
  // The number was given to somebody else since.
  if (bootAt + (Number(found.startTime) / TICKS) * 1000 > writtenAt + CLOCK_SLACK_MS)
    return {
      pids: [],
      problem: `pid file ${path} names process ${pid} (${commandLine(argvOf(Number(pid)))}), which has started after the file was written: it is stale, remove it or name the process in another way`,
    };
  return { pids: [Number(pid)] };
}

function byPort(port: number, { sockets, holders }: HostNow) {
  const inodes = sockets.filter((socket) => socket.port === port).map(({ inode }) => inode);
  const pids = [...new Set(inodes.flatMap((inode) => holders.get(inode) ?? []))];
  if (inodes.length === 0) return { pids, nothing: `nobody listens on port ${port}` };
  if (inodes.some((inode) => !holders.has(inode)))
    return {
      pids,
      problem: `who listens on port ${port} may not be seen by the agent's user: run the agent as root, or end it yourself`,
    };
  return { pids };
}

/**
 * A worker that is a fork of its master has its command line. Who would be asked to end is the master, which otherwise
 * starts another worker; all others are waited for.
 */
function withMasters(pids: number[], { stats }: HostNow): { pid: number; follows: boolean }[] {
  const all = new Set(pids);
  for (const pid of pids)
    for (let one = stats.get(pid); one !== undefined; one = stats.get(one.parent)) {
      const parent = stats.get(one.parent);
      if (parent === undefined || parent.pid === 1 || !isDeepStrictEqual(argvOf(parent.pid), argvOf(one.pid))) break;
      all.add(parent.pid);
    }
  return [...all].map((pid) => ({ pid, follows: all.has(stats.get(pid)?.parent ?? 0) }));
}

function describe(
  pid: number,
  follows: boolean,
  { stats, sockets, holders, bootAt }: HostNow,
  unit: string | undefined,
): ExistingProcess | undefined {
  const found = stats.get(pid);
  const uid = userOf(pid);
  if (found === undefined || uid === undefined) return undefined;
  return {
    pid,
    startTime: found.startTime,
    argv: argvOf(pid),
    since: new Date(bootAt + (Number(found.startTime) / TICKS) * 1000).toISOString().replace(/\.\d+Z$/, "Z"),
    uid,
    listens: sockets.filter(({ inode }) => holders.get(inode)?.includes(pid)),
    follows,
    parent: found.parent,
    unit,
  };
}

type Own = "target's" | "Sluice's" | undefined;

/** Recognizes processes that Sluice runs itself. */
function ownProcess({ target, marker }: FindOptions): (pid: number) => Own {
  const [kind, name] = target.split("/");
  return (pid) => {
    const env = environmentOf(pid);
    if (env?.[MARKER_VARIABLE] === undefined) return undefined;
    const instance = env.SLUICE_INSTANCE ?? "";
    const mine = kind === "edge" ? instance === `edge.${name}` : instance.startsWith(`${name}.`);
    return env[MARKER_VARIABLE] === marker && mine ? "target's" : "Sluice's";
  };
}

/** Why a process must not be ended, where it must not. */
function problemsOf(one: ExistingProcess, entry: TakeoverEntry, own: (pid: number) => Own): string | undefined {
  const who = `${titleOf(entry)}: process ${one.pid} (${commandLine(one.argv)})`;
  const unit = unitOf(one.pid);
  if (one.pid === 1 || one.argv.length === 0) return `${who} is the system's own: name something else`;
  if (own(one.pid) !== undefined) return `${who} is Sluice's own: change what declares it instead`;
  if (ancestors().includes(one.pid)) return `${who} is what the agent itself runs under: name something else`;
  if (entry.unit === undefined && unit !== undefined) return viaUnit(who, unit);
  if (entry.command !== undefined && !one.follows && !isDeepStrictEqual(one.argv, entry.command))
    return `${who} has not the command that is stated (${commandLine(entry.command)}): is it what you mean?`;
  if (process.getuid?.() !== 0 && process.getuid?.() !== one.uid)
    return `${who} belongs to user ${one.uid}, whom the agent's user ${process.getuid?.()} may not signal: run the agent as root, or end it yourself`;
  if (entry.unit === undefined && !one.follows && /[\s:]/.test(one.argv[0] ?? ""))
    return `${who} shows a title instead of its command line, so that it could not be given back: name its unit, or end it yourself`;
  if (entry.unit === undefined && namespaceOf(one.pid) !== namespaceOf(process.pid))
    return `${who} runs in a container: end it by what manages that`;
  return undefined;
}

/** A port beside another condition: somebody of those found must have it. */
function portProblems(found: readonly ExistingProcess[], entry: TakeoverEntry): string[] {
  const { port } = entry;
  if (port === undefined || found.length === 0 || found.some((one) => listensOn(one, port))) return [];
  return [`${titleOf(entry)}: nobody of it listens on port ${port}: is it what you mean?`];
}

function viaUnit(who: string, unit: string): string {
  return USER_MANAGER.test(unit)
    ? `${who} belongs to a unit of a user's own systemd: end it by systemctl --user`
    : `${who} belongs to the unit ${unit}, and systemd may start it again: name that, as unit: "${unit}"`;
}

function listensOn({ listens }: ExistingProcess, port: number): boolean {
  return listens.some((socket) => socket.port === port);
}

/** Whether it still is the process that was found, still as it was named. */
export function isStill({ pid, startTime, argv }: Pick<ExistingProcess, "pid" | "startTime" | "argv">): boolean {
  return startTimeOf(pid) === startTime && isDeepStrictEqual(argvOf(pid), argv);
}

export function asNamed({ pid, argv, since }: ExistingProcess): NamedProcess {
  return { pid, command: commandLine(argv), since };
}

/** The system unit that a process belongs to; nothing for one of a login session, a container or a host without systemd. */
function unitOf(pid: number): string | undefined {
  // A host may have a hierarchy of both kinds, of which systemd uses one or both.
  return read(`/proc/${pid}/cgroup`)
    ?.split("\n")
    .filter((line) => line.startsWith("0::") || line.includes(":name=systemd:"))
    .flatMap((line) => line.split("/"))
    .find((part) => part.endsWith(".service"));
}

export function environmentOf(pid: number): Record<string, string> | undefined {
  const text = read(`/proc/${pid}/environ`);
  if (text === undefined) return undefined;
  return Object.fromEntries(
    text.split("\0").flatMap((variable) => {
      const at = variable.indexOf("=");
      return at > 0 ? [[variable.slice(0, at), variable.slice(at + 1)] as const] : [];
    }),
  );
}

/** Empty for the kernel's own threads, and for processes that are gone. */
export function argvOf(pid: number): string[] {
  const text = read(`/proc/${pid}/cmdline`) ?? "";
  return text === "" ? [] : text.replace(/\0$/, "").split("\0");
}

export function userOf(pid: number): number | undefined {
  const user = /^Uid:\s+\d+\s+(\d+)/m.exec(read(`/proc/${pid}/status`) ?? "")?.[1];
  return user === undefined ? undefined : Number(user);
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

function ancestors(): number[] {
  const found: number[] = [];
  for (let pid = process.pid; pid > 1; ) {
    found.push(pid);
    pid = Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`) ?? "")?.[1] ?? 0);
  }
  return found;
}

function startTimeOf(pid: number): string | undefined {
  const text = read(`/proc/${pid}/stat`);
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields?.[0] === "Z" || fields?.[0] === "X" ? undefined : fields?.[19];
}

/** Clock ticks since the host's boot, as start times of processes are told. */
export function ticksNow(): number {
  return Math.floor(Number((read("/proc/uptime") ?? "").split(" ")[0]) * TICKS);
}

function bootTime(): number {
  return Number(/^btime (\d+)/m.exec(readFileSync("/proc/stat", "latin1"))?.[1] ?? 0) * 1000;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

/** Files of a process's standard streams, as far as they are files, to start it again with. */
export function streamsOf(pid: number): { output: string | undefined; error: string | undefined } {
  const target = (fd: number): string | undefined => {
    try {
      if (!readdirSync(`/proc/${pid}/fd`).includes(String(fd))) return undefined;
      const path = readlinkSync(`/proc/${pid}/fd/${fd}`);
      return path.startsWith("/") && !path.startsWith("/dev/") && !path.endsWith(" (deleted)") ? path : undefined;
    } catch (error) {
      if (isUnreadable(error)) return undefined;
      throw error;
    }
  };
  return { output: target(1), error: target(2) };
}
