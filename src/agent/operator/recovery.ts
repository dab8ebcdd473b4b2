import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { RecoveryItem } from "../../model/protocol/recovery";
import { waitFor } from "../../support/waiting";
import type { Events } from "../events/events";
import { commandOf, type Identity, instanceOf, isAlive, isDead, readStat, signalProcess } from "../processes/identity";
import type { ProcessManager } from "../processes/process-manager";
import { isKeptAside } from "../processes/record";
import { leftByFormerAgent } from "./former-agent";

/** Time that a process has to end by itself after SIGTERM, in milliseconds. */
const GRACE_MS = 5000;
const POLL_MS = 20;
/** Finds the leftovers of stopped processes. */
const PASSES = 5;
const COMMAND_CHARACTERS = 200;

/** A process id of a record that had gone to somebody else when an agent looked for its process. */
export interface Reused extends Identity {
  id: string;
}

export interface RecoverySource {
  processes: ProcessManager;
  events: Events;
  /** Folder of the processes' records. */
  directory: string;
  marker: string;
  reused: readonly Reused[];
}

/** Leftovers that this agent can't supervise. */
export async function unrecovered(source: RecoverySource): Promise<RecoveryItem[]> {
  return [
    ...(await orphans(source)),
    ...halfDead(source),
    ...(await corruptRecords(source)),
    ...(await reusedIds(source)),
    ...(await leftByFormerAgent(dirname(source.directory), source.marker)),
  ];
}

/** Ends the processes that are provably this agent's, and reports each outcome; everything else is left alone. */
export async function recover(source: RecoverySource): Promise<RecoveryItem[]> {
  const items = await unrecovered(source);
  const stopped = await Promise.all(items.map((item) => ended(item, source)));
  // Look again for children that those started meanwhile.
  for (let pass = 0; pass < PASSES; pass++) {
    const known = new Set(stopped.map(({ pid }) => pid));
    const more = (await orphans(source)).filter(({ pid }) => !known.has(pid));
    if (more.length === 0) break;
    stopped.push(...(await Promise.all(more.map((item) => ended(item, source)))));
  }
  const known = new Set(stopped.map(({ pid }) => pid));
  const left = (await orphans(source)).filter(({ pid }) => !known.has(pid));
  const outcome = "not stopped: it came while others were ended; try again, or stop first what starts it";
  stopped.push(...left.map((item) => ({ ...item, outcome })));
  return Promise.all(stopped.map((item) => removed(item, source)));
}

async function orphans({ processes }: RecoverySource): Promise<RecoveryItem[]> {
  const found = await processes.orphans();
  return found
    .filter(({ pid }) => readStat(pid)?.parent !== process.pid)
    .map(({ pid, startTime, id, command }) => ({
      kind: "orphan",
      id,
      pid,
      startTime,
      command,
      message: `process ${pid} is of ${id}, which ${processes.get(id) === undefined ? "has no record" : "has ended"}: nothing supervises it`,
      ours: true,
    }));
}

function halfDead({ processes }: RecoverySource): RecoveryItem[] {
  return processes.list().flatMap(({ id, state, pid, startTime, group }): RecoveryItem[] => {
    if (state !== "running" || pid === undefined || group === undefined) return [];
    const shim = readStat(group);
    if (shim !== undefined && !isDead(shim)) return [];
    return [
      {
        kind: "half-dead",
        id,
        pid,
        ...(startTime === undefined ? {} : { startTime }),
        message: `${id} runs, but its shim (process ${group}) is gone, so that its exit code will not be known: restart it when it suits`,
        ours: false,
      },
    ];
  });
}

async function corruptRecords({ directory }: RecoverySource): Promise<RecoveryItem[]> {
  const folders = (await readdir(directory, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const found = await Promise.all(
    folders.map(async ({ name: id }) => {
      const files = (await readdir(join(directory, id))).filter(isKeptAside);
      return files.map(
        (file): RecoveryItem => ({
          kind: "corrupt-record",
          id,
          file: join(directory, id, file),
          message: `a record of ${id} could not be read, and is kept as ${file}`,
          ours: true,
        }),
      );
    }),
  );
  return found.flat();
}

async function reusedIds({ reused, marker }: RecoverySource): Promise<RecoveryItem[]> {
  const now = reused.filter((identity) => isAlive(identity) && instanceOf(identity.pid, marker) === undefined);
  return Promise.all(
    now.map(
      async ({ id, pid, startTime }): Promise<RecoveryItem> => ({
        kind: "pid-reused",
        id,
        pid,
        startTime,
        command: (await commandOf(pid)).slice(0, COMMAND_CHARACTERS),
        message: `process ${pid}, whose number ${id} once had, is somebody else's: it is left alone`,
        ours: false,
      }),
    ),
  );
}

async function ended(item: RecoveryItem, { processes, events, marker }: RecoverySource): Promise<RecoveryItem> {
  const { kind, id, pid, startTime } = item;
  if (kind !== "orphan" || pid === undefined || startTime === undefined) return item;
  const identity = { pid, startTime };
  // Looked at again at the last moment: a number may have changed hands, and a record may have come.
  if (isAlive(identity) && instanceOf(pid, marker) !== id)
    return { ...item, outcome: "left alone: it is not ours any more" };
  try {
    signalProcess(identity, "SIGTERM");
    await waitFor(() => !isAlive(identity), { everyMs: POLL_MS, deadlineMs: GRACE_MS });
    await processes.kill(pid, startTime);
    events.emit(`process ${pid} of ${id}, which nothing supervised, was stopped on demand`, { id, pid });
    return { ...item, outcome: "stopped" };
  } catch (error) {
    return { ...item, outcome: `not stopped: ${(error as Error).message}` };
  }
}

async function removed(item: RecoveryItem, { processes, events }: RecoverySource): Promise<RecoveryItem> {
  const { kind, id, file } = item;
  if (kind !== "corrupt-record" || file === undefined) return item;
  const left = (await processes.orphans()).filter((orphan) => orphan.id === id);
  if (left.length > 0) return { ...item, outcome: `kept: process ${left[0]?.pid} still runs` };
  await rm(file, { force: true });
  // A process that runs under this id now has its record and output beside it.
  if (processes.get(id) === undefined) await rm(dirname(file), { recursive: true, force: true });
  events.emit(`the record of ${id} that could not be read was removed on demand`, { id });
  return { ...item, outcome: "removed" };
}
