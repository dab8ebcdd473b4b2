import { isDeepStrictEqual } from "node:util";
import { collide } from "../../model/edge/edge";
import { commandLine, processText, type TakeoverEntry, titleOf } from "../../model/process/takeover";
import { milliseconds } from "../../model/types/duration";
import { waitFor } from "../../support/waiting";
import type { Events } from "../events/events";
import { allStats, isAlive, readBootId, send } from "../processes/identity";
import { holdersOf, type ListeningSocket, listeningSockets } from "../processes/listeners";
import {
  argvOf,
  asNamed,
  type ExistingProcess,
  findExisting,
  isStill,
  type TakeoverMatch,
  ticksNow,
  userOf,
} from "./existing-processes";
import { launchRecordOf, startAgain } from "./launch-record";
import { type StoppedProcess, StoppedProcessStore } from "./stopped-processes";
import { showUnit, startUnit, stopUnit } from "./systemd";

const POLL_MS = 10;
/** Time that systemd has beyond an entry's deadline until it is not waited for any more, in milliseconds. */
const UNIT_SLACK_MS = 5000;
/** Time that a process which was killed has to be gone, in milliseconds. */
const KILLED_MS = 5000;
/** Time until a port that HAProxy released is free for the restored process, in milliseconds. */
const FREE_MS = 5000;
/** Time for a restored process to listen again, in milliseconds; after it, the failure is reported. */
const BACK_MS = 10_000;
/** Tries to start something again, each with a growing pause, until it is left to people. */
const TRIES = 6;

export interface TakeoverOptions {
  /** Ends the waiting when the transaction is to be undone. */
  signal: AbortSignal;
  /** Told what happens, for the transaction's events. */
  notify: (message: string) => void;
}

/** Waits for units that have given way. @param options.hurry whether they have no time any more to finish what they have */
export type UntilStopped = (options: { hurry: boolean }) => Promise<void>;

/** An address that is listened on, or is to be. */
type Address = Pick<ListeningSocket, "address" | "port">;

/**
 * Ends existing processes for a change that is not committed yet, and starts them again if it is undone. Their launch
 * records are on disk before the first signal.
 */
export class Takeovers {
  private readonly store: StoppedProcessStore;
  private readonly tries = new Map<string, number>();

  constructor(private readonly parts: { directory: string; marker: string; events: Events }) {
    this.store = new StoppedProcessStore(parts.directory);
  }

  /** Targets with uncommitted takeovers, such as `edge/main`. */
  targets(): Promise<string[]> {
    return this.store.targets();
  }

  /** Finds the existing processes that entries match. @param strict whether a unit that is not there is a mistake */
  find(target: string, entries: readonly TakeoverEntry[], { strict }: { strict: boolean }): Promise<TakeoverMatch[]> {
    if (entries.length === 0) return Promise.resolve([]);
    return findExisting(entries, { target, marker: this.parts.marker, strict });
  }

  /**
   * Ends what was found, and waits for it: what listens on one of `addresses` must give that free, and may finish what it
   * has; everything else must be gone.
   *
   * @returns what waits until systemd has stopped the units that finish what they have
   * @throws where something does not end in time, or is not any more what was found
   */
  async take(
    target: string,
    found: readonly TakeoverMatch[],
    addresses: readonly Address[],
    taking: TakeoverOptions,
  ): Promise<UntilStopped> {
    const named = found.filter(({ processes }) => processes.length > 0);
    if (named.length === 0) return () => Promise.resolve();
    const bootId = await readBootId();
    const askedAt = ticksNow();
    const all = new Set(named.flatMap(({ processes }) => processes.map(({ pid }) => pid)));
    const stopped = named.map(({ entry, processes }): StoppedProcess => {
      // A supervisor brings its own children back.
      const withLaunchRecord = ({ unit, follows, parent }: ExistingProcess) =>
        unit === undefined && !follows && !all.has(parent);
      return {
        entry,
        bootId,
        askedAt,
        processes: processes.map((one) => ({
          ...one,
          ...(withLaunchRecord(one) ? { recipe: launchRecordOf(one.pid) } : {}),
        })),
      };
    });
    taking.signal.throwIfAborted();
    await this.store.write(target, [...(await this.store.read(target)), ...stopped]);
    const hurry = new AbortController();
    const ends = named.map(({ entry, processes }) => {
      let ended = Promise.resolve();
      const free = new Promise<void>((resolve, reject) => {
        ended = this.end(entry, processes, addresses, { ...taking, free: resolve, hurry: hurry.signal });
        ended.then(resolve, reject);
      });
      return { free, ended };
    });
    const ended = Promise.allSettled(ends.map((end) => end.ended));
    const untilStopped: UntilStopped = async (options) => {
      if (options.hurry) hurry.abort();
      for (const end of await ended) if (end.status === "rejected") throw end.reason;
    };
    const free = await Promise.allSettled(ends.map((end) => end.free));
    if (free.some(({ status }) => status === "rejected")) await untilStopped({ hurry: true });
    return untilStopped;
  }

  private async end(
    entry: TakeoverEntry,
    processes: readonly ExistingProcess[],
    addresses: readonly Address[],
    { signal, notify, free, hurry }: TakeoverOptions & { free: () => void; hurry: AbortSignal },
  ): Promise<void> {
    const begun = performance.now();
    const deadlineMs = milliseconds(entry.deadline);
    let gaveWayMs: number | undefined;
    const isOver = () => areOver(processes, addresses);
    const wait = (ms: number) => until(isOver, ms, signal);
    if (entry.unit !== undefined) {
      const { unit } = entry;
      if (entry.signal !== undefined) {
        const shown = await showUnit(unit);
        const main = processes.find(({ pid }) => !("problem" in shown) && pid === shown.mainPid);
        if (main !== undefined && isStill(main)) send(main.pid, entry.signal);
        if (await wait(deadlineMs)) {
          gaveWayMs = performance.now() - begun;
          const leftMs = deadlineMs - gaveWayMs;
          const isGone = () => !processes.some(isAlive);
          // Stop the unit even if its process is gone before anybody listens instead: systemd would start it again.
          if (!isGone()) free();
          await until(() => hurry.aborted || isGone(), leftMs, signal);
        }
      }
      await stopUnit(unit, deadlineMs + UNIT_SLACK_MS);
      if (!(await wait(UNIT_SLACK_MS)))
        throw new Error(`unit ${unit} is stopped, but ${alive(processes)} still runs: end it, and try again`);
    } else {
      for (const one of processes.filter(({ follows }) => !follows)) {
        if (isStill(one)) send(one.pid, entry.signal ?? "SIGTERM");
        else if (isAlive(one))
          throw new Error(`process ${one.pid} is not any more what ${titleOf(entry)} named: it was left alone`);
      }
      if (!(await wait(deadlineMs))) {
        if (!entry.kill)
          throw new Error(
            `${alive(processes)} of ${titleOf(entry)} did not give way within ${entry.deadline} of ${entry.signal ?? "SIGTERM"}: give it a longer deadline or another signal, or allow SIGKILL by kill: true`,
          );
        for (const one of processes) if (isStill(one)) send(one.pid, "SIGKILL");
        if (!(await wait(KILLED_MS))) throw new Error(`${alive(processes)} of ${titleOf(entry)} survives SIGKILL`);
      }
    }
    const rest = processes.filter(isAlive).map(({ pid }) => pid);
    notify(
      `${titleOf(entry)} was taken over: ${processes
        .filter(({ follows }) => !follows)
        .map((one) => processText(asNamed(one)))
        .join(", ")} gave way within ${Math.round(gaveWayMs ?? performance.now() - begun)} ms${
        rest.length === 0 ? "" : `, and finishes what it has (process ${rest.join(", ")})`
      }`,
    );
  }

  /** @throws where what was taken was started again by somebody: whoever has a supervisor of its own comes back */
  async assertEnded(target: string, named: readonly TakeoverMatch[]): Promise<void> {
    const ended = new Set(named.flatMap(({ processes }) => processes.map(({ pid }) => pid)));
    const again = await this.find(
      target,
      named.filter(({ processes }) => processes.length > 0).map(({ entry }) => entry),
      { strict: false },
    );
    for (const { entry, processes } of again)
      for (const one of processes) {
        const { pid, parent } = one;
        if (ended.has(pid) || ended.has(parent) || !isAlive(one)) continue;
        throw new Error(
          `${titleOf(entry)} was started again, as ${processText(asNamed(one))}, by process ${parent} (${commandLine(argvOf(parent))}): take that over, too`,
        );
      }
  }

  /** Forgets processes of entries that are committed: they are not started again any more. */
  async settle(target: string, committed: readonly TakeoverEntry[]): Promise<void> {
    const stopped = await this.store.read(target);
    const left = stopped.filter(({ entry }) => !includes(committed, entry));
    if (left.length === stopped.length) return;
    await this.store.write(target, left);
    this.parts.events.emit(`what ${target} took over is committed: it is not started again`, { target });
  }

  /** Whether processes were stopped for entries that are not wanted any more. */
  async hasPending(target: string, wanted: readonly TakeoverEntry[]): Promise<boolean> {
    return (await this.store.read(target)).some(({ entry }) => !includes(wanted, entry));
  }

  /**
   * Starts processes again that were stopped for entries which are not wanted any more.
   *
   * @throws where something can't be started, at the first tries
   */
  async restore(target: string, wanted: readonly TakeoverEntry[]): Promise<void> {
    for (;;) {
      const stopped = await this.store.read(target);
      const stoppedProcess = stopped.find(({ entry }) => !includes(wanted, entry));
      if (stoppedProcess === undefined) return;
      await this.restoreOne(target, stoppedProcess);
      await this.store.write(
        target,
        stopped.filter((each) => each !== stoppedProcess),
      );
    }
  }

  private async restoreOne(target: string, stoppedProcess: StoppedProcess): Promise<void> {
    const key = `${target} ${titleOf(stoppedProcess.entry)}`;
    const say = (message: string) => this.parts.events.emit(message, { target });
    try {
      for (const text of await restartStopped(stoppedProcess))
        say(`${titleOf(stoppedProcess.entry)} is given back: ${text}`);
    } catch (error) {
      const tried = (this.tries.get(key) ?? 0) + 1;
      this.tries.set(key, tried);
      const why = `${titleOf(stoppedProcess.entry)} could not be given back: ${(error as Error).message}`;
      if (tried < TRIES) throw new Error(why, { cause: error });
      const { unit } = stoppedProcess.entry;
      const commands = stoppedProcess.processes.flatMap(({ recipe: launchRecord }) =>
        launchRecord === undefined ? [] : [`cd ${launchRecord.cwd} && ${commandLine(launchRecord.argv)}`],
      );
      say(`${why}; start it yourself: ${unit === undefined ? commands.join("; ") : `systemctl start ${unit}`}`);
    }
    this.tries.delete(key);
  }
}

/** Starts a stopped process again, and says what happened. */
async function restartStopped({ entry, processes, bootId, askedAt }: StoppedProcess): Promise<string[]> {
  const { unit } = entry;
  const listened = processes.flatMap(({ listens }) => listens);
  if (unit !== undefined) {
    await untilFree(listened);
    const withinMs = milliseconds(entry.deadline) + UNIT_SLACK_MS;
    // Asked to end by a signal, and not stopped yet: for systemd it runs, so that a start would do nothing.
    const inodes = new Set((await listeningSockets()).map(({ inode }) => inode));
    const stays = listened.length > 0 && listened.every(({ inode }) => inodes.has(inode));
    if (entry.signal !== undefined && !stays && processes.some(isAlive)) await stopUnit(unit, withinMs);
    await startUnit(unit, withinMs);
    return [`unit ${unit} was started${await listensAgain(listened)}`];
  }
  if ((await readBootId()) !== bootId)
    return ["the host was rebooted in between, so that it comes back as it does at every boot"];
  // It may have been asked to end and not have done so yet.
  await until(() => areOver(processes, listened), milliseconds(entry.deadline));
  const message: string[] = [];
  for (const one of processes) {
    const { recipe: launchRecord } = one;
    if (launchRecord === undefined) continue;
    if (!(await areOver([one], one.listens))) {
      message.push(`${processText(asNamed(one))}, runs on`);
      continue;
    }
    const same = processes.filter(({ argv, recipe: mine }) => mine !== undefined && isDeepStrictEqual(argv, one.argv));
    const back = (await startedSince(one, askedAt)).length;
    // By whoever else looks after it, or by an agent that died right then.
    const still = (await Promise.all(same.map((each) => areOver([each], each.listens)))).filter((over) => !over).length;
    if (back + still >= same.length) {
      message.push(`${commandLine(one.argv)} runs again already`);
      continue;
    }
    await untilFree(one.listens);
    const pid = await startAgain(launchRecord);
    message.push(`${commandLine(launchRecord.argv)} was started as process ${pid}${await listensAgain(one.listens)}`);
  }
  return message;
}

/** Processes with the same command and user that were started after a time; workers of another one of them are not counted. */
async function startedSince({ argv, uid }: ExistingProcess, askedAt: number): Promise<number[]> {
  const since = (await allStats()).filter(
    ({ pid, startTime }) => Number(startTime) >= askedAt && isDeepStrictEqual(argvOf(pid), argv) && userOf(pid) === uid,
  );
  const pids = new Set(since.map(({ pid }) => pid));
  return since.filter(({ parent }) => !pids.has(parent)).map(({ pid }) => pid);
}

/** Whether all that listened on some addresses do so no more, and all others are gone. */
async function areOver(processes: readonly ExistingProcess[], addresses: readonly Address[]): Promise<boolean> {
  const onThem = (one: ExistingProcess) =>
    one.listens.filter((socket) => addresses.some((address) => collide(address, socket)));
  const holding = processes.filter((one) => isAlive(one));
  if (holding.length === 0) return true;
  if (processes.every((one) => onThem(one).length === 0)) return false;
  const inodes = new Set((await listeningSockets()).map(({ inode }) => inode));
  // A master that never listened itself ends with its workers.
  const idle = holding.filter((one) => onThem(one).length === 0 && !isRelated(one, processes, onThem));
  return idle.length === 0 && processes.flatMap(onThem).every(({ inode }) => !inodes.has(inode));
}

/** Whether a process is of the same command as one that listens. */
function isRelated(
  one: ExistingProcess,
  processes: readonly ExistingProcess[],
  onThem: (one: ExistingProcess) => unknown[],
): boolean {
  return processes.some((other) => onThem(other).length > 0 && isDeepStrictEqual(other.argv, one.argv));
}

async function untilFree(addresses: readonly Address[]): Promise<void> {
  await until(async () => {
    const sockets = await listeningSockets();
    return !addresses.some((address) => sockets.some((socket) => collide(address, socket)));
  }, FREE_MS);
}

async function listensAgain(addresses: readonly Address[]): Promise<string> {
  if (addresses.length === 0) return "";
  const begun = performance.now();
  const ports = [...new Set(addresses.map(({ port }) => port))].join(", ");
  const listens = await until(async () => {
    const sockets = await listeningSockets();
    const open = sockets.filter((socket) => addresses.some((address) => collide(address, socket)));
    const holders = await holdersOf(new Set(open.map(({ inode }) => inode)));
    return addresses.every((address) =>
      open.some((socket) => collide(address, socket) && holders.get(socket.inode) !== undefined),
    );
  }, BACK_MS);
  return listens
    ? `, and listens on port ${ports} again after ${Math.round(performance.now() - begun)} ms`
    : `, but does not listen on port ${ports} within ${BACK_MS} ms: look at it`;
}

function alive(processes: readonly ExistingProcess[]): string {
  return processes
    .filter(isAlive)
    .map((one) => processText(asNamed(one)))
    .join(", ");
}

function includes(entries: readonly TakeoverEntry[], entry: TakeoverEntry): boolean {
  return entries.some((each) => isDeepStrictEqual(each, entry));
}

/** Whether a condition holds within a time. @throws the signal's reason once it aborts */
async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const holds = () => {
    signal?.throwIfAborted();
    return condition();
  };
  return (await waitFor(holds, { everyMs: POLL_MS, deadlineMs: withinMs })) ?? false;
}
