import { appendFileSync, readFileSync, statSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { constants } from "node:os";
import { codeOf } from "../../model/types/errors";
import { PRIVATE_FILE_MODE } from "../support/files";
import { type Identity, parseStat } from "./identity";

/**
 * History of a process: an append-only file of a few lines, written by the agent (`boot`, `end`) and by the shim
 * (`shim`, `app`, `exit`), each line in one write. A last line without its newline is not read.
 */
export interface Status {
  bootId: string;
  shim?: Identity;
  app?: Identity;
  /** As the shell reports it: 128 + n after signal n. */
  code?: number;
  /** How it ended, where no shim could tell. */
  end?: { signal: string | null; reason: string };
  /** When the last line was written. */
  writtenAt: Date;
}

export interface ExitFacts {
  code: number | null;
  signal: string | null;
}

/**
 * Length of the first line, in bytes. With it the file owns a block of the file system from the start, and all later lines
 * fit into that block: exit codes are recorded on a full disk, too.
 */
const FIRST_LINE_BYTES = 512;

/** Creates the file before anything is started. An older one is not reused: an earlier shim may yet write to it. */
export async function createStatus(path: string, bootId: string): Promise<void> {
  await rm(path, { force: true });
  const file = await open(path, "wx", PRIVATE_FILE_MODE);
  try {
    await file.writeFile(`${`boot ${bootId}`.padEnd(FIRST_LINE_BYTES - 1)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Creates the file of a process that runs again. Its shim still writes to the one that was deleted, so its exit code will be unknown. */
export async function restoreStatus(
  path: string,
  bootId: string,
  { shim, app }: { shim: Identity; app: Identity },
): Promise<void> {
  await createStatus(path, bootId);
  appendFileSync(path, `shim ${identityLine(shim)}\napp ${identityLine(app)}\n`);
}

/**
 * Undefined when there is no such file, or it has no first line. Synchronous: it is one page, and an exit is known sooner
 * than by way of the thread pool.
 */
export function readStatus(path: string): Status | undefined {
  let text: string;
  let writtenAt: Date;
  try {
    text = readFileSync(path, "latin1");
    writtenAt = statSync(path).mtime;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  const lines = text.split("\n").slice(0, -1);
  const fieldOf = (key: string) => lines.find((line) => line.startsWith(`${key} `))?.slice(key.length + 1);
  const bootId = fieldOf("boot")?.trim();
  if (bootId === undefined) return undefined;
  const shim = identityIn(fieldOf("shim"));
  const app = identityIn(fieldOf("app"));
  const code = fieldOf("exit");
  const end = /^(\S+) (.*)$/.exec(fieldOf("end") ?? "");
  return {
    bootId,
    ...(shim && { shim }),
    ...(app && { app }),
    ...(code !== undefined && /^\d+$/.test(code) && { code: Number(code) }),
    ...(end && { end: { signal: end[1] === "-" ? null : (end[1] ?? null), reason: end[2] ?? "" } }),
    writtenAt,
  };
}

/** Records an end that no shim recorded, so that the next agent knows as much. */
export function appendEnd(path: string, end: { signal: string | null; reason: string }): void {
  appendFileSync(path, `end ${end.signal ?? "-"} ${end.reason}\n`, { mode: PRIVATE_FILE_MODE });
}

/**
 * The shell's status, taken apart. A shell cannot tell an exit with 128 + n from an end by signal n; the signal is the
 * likelier one, and programs that exit with such a code mean just that.
 */
export function exitFacts(status: number): ExitFacts {
  const signal = Object.entries(constants.signals).find(([, number]) => number === status - 128)?.[0];
  return signal === undefined ? { code: status, signal: null } : { code: null, signal };
}

/** A line as in /proc/<pid>/stat with what is known of a process. */
function identityLine({ pid, startTime }: Identity): string {
  const unknown = Array.from({ length: 18 }, () => "0");
  return `${pid} () S ${unknown.join(" ")} ${startTime} `;
}

function identityIn(line: string | undefined): Identity | undefined {
  const stat = line === undefined ? undefined : parseStat(line);
  return stat && { pid: stat.pid, startTime: stat.startTime };
}
