import { waitFor } from "../../../support/waiting";
import { complaints } from "../config/validate";
import { ask, isRefusal } from "./runtime-api";

/** Time that a reload may take, in milliseconds; HAProxy itself tries to bind for up to a second. */
const RELOAD_DEADLINE_MS = 20_000;
const RELOAD_PAUSE_MS = 10;

interface WorkerProcess {
  pid: number;
  /** Reloads since it was the newest: 0 for the current worker. After a failed reload the current one has more. */
  reloads: number;
  uptimeSeconds: number;
}

/** Output of `show proc` on the master's socket. */
export interface Processes {
  master: number;
  /** Reloads that failed since the last one that succeeded. */
  failedReloads: number;
  version: string;
  worker: WorkerProcess | undefined;
  oldWorkers: WorkerProcess[];
}

const ROW = /^(\d+)\s+(master|worker)\s+(\d+)(?: \[failed: (\d+)\])?\s+(?:(\d+)d)?(\d+)h(\d+)m(\d+)s\s+(\S+)/;

/** Reads the answer of `show proc`. */
export function parseProcesses(text: string): Processes {
  let old = false;
  const found: Processes = { master: 0, failedReloads: 0, version: "", worker: undefined, oldWorkers: [] };
  for (const line of text.split("\n")) {
    if (line.startsWith("# ")) old = line.startsWith("# old workers");
    const match = ROW.exec(line);
    if (match === null) continue;
    const [, pid, type, reloads, failed = "0", days = "0", hours, minutes, seconds, version = ""] = match;
    const uptimeSeconds = ((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds);
    if (type === "master") Object.assign(found, { master: Number(pid), failedReloads: Number(failed), version });
    else {
      const worker = { pid: Number(pid), reloads: Number(reloads), uptimeSeconds };
      if (old) found.oldWorkers.push(worker);
      else found.worker = worker;
    }
  }
  if (found.master === 0)
    throw new Error(`HAProxy's master printed no process list but ${JSON.stringify(text.slice(0, 200))}`);
  return found;
}

/** The processes of a HAProxy; throws where its master does not answer. */
export async function showProcesses(socket: string, { retry = false } = {}): Promise<Processes> {
  // An answer may also be cut off: the master re-executes itself without finishing its conversations.
  const answer = await ask(socket, "show proc", { retry });
  return parseProcesses(answer);
}

/**
 * Reloads HAProxy: new workers take over the listeners, the old ones finish what they have.
 *
 * @param lastOutput the last lines of the master's output, for HAProxy's own words where it fails
 * @throws Error with those words; the old worker then goes on
 */
export async function reload(socket: string, lastOutput: () => Promise<string[]>): Promise<Processes> {
  const before = await showProcesses(socket, { retry: true });
  const answer = await ask(socket, "reload", { retry: true }).catch((error: unknown) => {
    // 2.6 answers nothing and may reset the connection: what happened shows in the process list.
    if (isRefusal(error)) return "";
    throw error;
  });
  if (/^Success=0/m.test(answer))
    throw new Error(`HAProxy could not reload: ${complaints(answer.replace(/^[\s\S]*?--\n/, ""))}`);
  const reloaded = async () => {
    const now = await processesOrNothing(socket);
    if (now?.worker !== undefined && now.worker.pid !== before.worker?.pid && now.failedReloads === 0) return now;
    if (now !== undefined && now.failedReloads > before.failedReloads)
      throw new Error(`HAProxy could not reload: ${complaints(sinceReload(await lastOutput()).join("\n"))}`);
    return undefined;
  };
  const after = await waitFor(reloaded, { everyMs: RELOAD_PAUSE_MS, deadlineMs: RELOAD_DEADLINE_MS });
  if (after !== undefined) return after;
  throw new Error(`HAProxy did not reload within ${RELOAD_DEADLINE_MS} ms: ${(await lastOutput()).join("; ")}`);
}

async function processesOrNothing(socket: string): Promise<Processes | undefined> {
  try {
    return await showProcesses(socket, { retry: true });
  } catch (error) {
    if (isRefusal(error)) throw error;
    return undefined;
  }
}

function sinceReload(lines: readonly string[]): string[] {
  const start = lines.findLastIndex((line) => line.includes("Reloading HAProxy"));
  return lines.slice(start + 1);
}
