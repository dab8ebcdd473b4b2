import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
/** For `haproxy -v`, in milliseconds. */
const VERSION_DEADLINE_MS = 10_000;
/** Lowest version that can add and remove servers with health checks at run time. */
const MINIMUM_VERSION = { major: 2, minor: 6 } as const;

export interface HaproxyVersion {
  /** As HAProxy prints it, such as `2.6.12-1+deb12u4`. */
  text: string;
  major: number;
  minor: number;
}

/** Reads the first line of `haproxy -v`. Throws where it is not HAProxy's. */
export function parseVersion(output: string): HaproxyVersion {
  const match = /^(?:HAProxy|HA-Proxy) version ((\d+)\.(\d+)\S*)/.exec(output);
  if (match?.[1] === undefined)
    throw new Error(`${JSON.stringify(output.slice(0, 80))} is not the version of a HAProxy: name its binary`);
  return { text: match[1], major: Number(match[2]), minor: Number(match[3]) };
}

/** Version of a HAProxy binary. Throws where it cannot be run or is older than {@link MINIMUM_VERSION}. */
export async function haproxyVersion(binary: string): Promise<HaproxyVersion> {
  let output: string;
  try {
    output = (await run(binary, ["-v"], { timeout: VERSION_DEADLINE_MS })).stdout;
  } catch (cause) {
    throw new Error(`HAProxy cannot be run as ${binary}: install HAProxy 2.6 or newer, or name its binary`, { cause });
  }
  const version = parseVersion(output);
  const { major, minor } = MINIMUM_VERSION;
  if (version.major < major || (version.major === major && version.minor < minor))
    throw new Error(`${binary} is HAProxy ${version.text}, too old: install HAProxy ${major}.${minor} or newer`);
  return version;
}

/** Folders of system programs, which are not on every account's PATH. */
const SYSTEM_FOLDERS = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/** The HAProxy on PATH or among the system's programs; just its name where there is none, which {@link haproxyVersion} explains. */
export function findHaproxy(path = process.env.PATH ?? ""): string {
  const folders = [...path.split(":").filter((folder) => folder.startsWith("/")), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, "haproxy")).find(isExecutable) ?? "haproxy";
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
