import { readdir, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive, type Marked, readStat } from "./identity";
import type { Launched } from "./launch";
import { type Ending, type ProcessEvent, recordedEnding } from "./process-record";
import { isKeptAside, readRecord, type StoredRecord } from "./record";
import { readStatus, type Status } from "./status";

/** How long a shim that an earlier agent started may take to write its first lines, in milliseconds. */
const SHIM_START_MS = 2000;
const POLL_MS = 10;

/** A process that an earlier agent left in a folder. */
export interface Found {
  record: StoredRecord;
  /** Its processes, if they were started during this boot of the host. */
  processes?: Launched;
  /** How it ended, as far as that is known; without it, `processes` must be looked at. */
  ended?: { ending: Ending; at: Date };
}

/** Reads one folder back. Undefined when it holds no record: one that cannot be read is kept aside and reported. */
export async function findIn(o: {
  id: string;
  folder: string;
  statusPath: string;
  /** Looks for the live processes that carry the marker. */
  marked: () => Promise<readonly Marked[]>;
  bootId: string;
  report: (event: ProcessEvent) => void;
}): Promise<Found | undefined> {
  const { id, folder, statusPath, report } = o;
  const reading = await readRecord(folder, id, new Date());
  if ("corrupt" in reading) {
    const { corrupt: problem, keptAs } = reading;
    const message = `the record of process ${id} cannot be read; it is kept as ${keptAs}, and its processes are orphans`;
    report({ message, data: { id, keptAs, problem } });
    return undefined;
  }
  if ("missing" in reading) {
    if (!(await readdir(folder)).some(isKeptAside)) await rm(folder, { recursive: true, force: true });
    await rm(statusPath, { force: true });
    return undefined;
  }
  const { record } = reading;
  const status = await completeStatus(o);
  const lost = (reason: string) => ({
    ending: { code: null, signal: null, reason: `lost: ${reason}` },
    at: status?.writtenAt ?? new Date(record.startedAt),
  });
  if (status?.app === undefined || status.shim === undefined)
    return { record, ended: lost("the agent ended before the program was executed") };
  const ending = recordedEnding(status);
  const ended = ending && { ending, at: status.writtenAt };
  if (status.bootId !== o.bootId) return { record, ended: ended ?? lost("the host rebooted") };
  const { app, shim } = status;
  const now = ended === undefined ? readStat(app.pid) : undefined;
  if (now !== undefined && now.startTime !== app.startTime) {
    const message = `process ${app.pid}, whose number ${id} once had, is another one: it is left alone`;
    report({ message, data: { id, reusedPid: app.pid, startTime: now.startTime } });
  }
  return { record, processes: { app, shim, watched: isAlive(app) }, ...(ended && { ended }) };
}

/** The status as it stays: a shim may have been started the moment before the earlier agent ended, and be about to write. */
async function completeStatus(o: {
  id: string;
  statusPath: string;
  marked: () => Promise<readonly Marked[]>;
  bootId: string;
}): Promise<Status | undefined> {
  for (const giveUpAt = performance.now() + SHIM_START_MS; ; await sleep(POLL_MS)) {
    const status = readStatus(o.statusPath);
    if (status === undefined || status.bootId !== o.bootId || performance.now() > giveUpAt) return status;
    if (status.app !== undefined || recordedEnding(status) !== undefined) return status;
    if (!(await o.marked()).some(({ id }) => id === o.id)) return readStatus(o.statusPath);
  }
}
