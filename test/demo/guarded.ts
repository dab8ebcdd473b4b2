import { spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Identity, isAlive, readStat, signalProcess } from "../../src/agent/processes/identity";
import { codeOf } from "../../src/model/types/errors";
import { until } from "../support/until";
import { endLeftovers } from "./leftovers";
import { clear, foldersOf, ROOT, type StoryFolders } from "./project";
import { say } from "./screen";

/** Demo and watchdog of a place. */
interface Lock {
  demo: Identity;
  watchdog: Identity;
}

/**
 * Does a demo's work in the place of its story, emptied of what an earlier one has left: first its processes end, then its
 * files go. Nothing of the work is left running, however it ends; should this process be killed, a watchdog sees to that.
 */
export async function guarded<T>(name: string, work: () => Promise<T>): Promise<T> {
  const place = foldersOf(name);
  const before = lockOf(place);
  if (before !== undefined && isAlive(before.demo))
    throw new Error(`another demo runs in ${place.folder} (process ${before.demo.pid}): wait for it, or end it`);
  // It would go on with the processes of this demo.
  if (before !== undefined) signalProcess(before.watchdog, "SIGKILL");
  const left = await endLeftovers(place);
  if (left > 0) say(`ended ${left} processes that an interrupted demo had left`);
  clear(place);
  const watchdog = await startWatchdog(name, place);
  try {
    return await work();
  } finally {
    await endLeftovers(place);
    signalProcess(watchdog, "SIGKILL");
    await until("the watchdog to be gone", () => !isAlive(watchdog));
    rmSync(place.lock);
  }
}

function lockOf({ lock }: StoryFolders): Lock | undefined {
  try {
    return JSON.parse(readFileSync(lock, "utf8")) as Lock;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function startWatchdog(name: string, { lock }: StoryFolders): Promise<Identity> {
  const demo = identityOf(process.pid);
  const watched = JSON.stringify([demo, ...parents()]);
  // In a session of its own, so that what ends the demo's process group does not end it.
  const child = spawn(process.execPath, ["--import", "tsx", join(__dirname, "watchdog.ts"), name, watched], {
    cwd: ROOT,
    detached: true,
    stdio: ["ignore", "inherit", "inherit"],
  });
  child.unref();
  await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  const watchdog = identityOf(child.pid ?? 0);
  writeFileSync(lock, JSON.stringify({ demo, watchdog } satisfies Lock));
  return watchdog;
}

/** The process that started the demo, and where that was done by `npm run` also npm, with the shell that it runs. */
function parents(): Identity[] {
  const found = [identityOf(process.ppid)];
  if (process.env.npm_lifecycle_event === undefined) return found;
  for (let at = parentOf(process.ppid); at > 1; at = parentOf(at)) {
    found.push(identityOf(at));
    if (!/^(?:da|ba)?sh\n$/.test(readFileSync(`/proc/${at}/comm`, "utf8"))) break;
  }
  return found;
}

function parentOf(pid: number): number {
  return readStat(pid)?.parent ?? 0;
}

/** One that is gone already is known by no start time, and so counts as dead. */
function identityOf(pid: number): Identity {
  return { pid, startTime: readStat(pid)?.startTime ?? "" };
}
