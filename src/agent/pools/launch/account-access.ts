import { execFile } from "node:child_process";
import { delimiter, resolve } from "node:path";
import { promisify } from "node:util";
import { type Account, runningAs } from "./account";

/** Time for a look at files as another user, in milliseconds: they may lie behind a network. */
const CHECK_MS = 10_000;
const [NO_FOLDER, NO_PROGRAM] = [3, 4];
/** Asks the kernel itself, with all groups and access lists of the user. */
const SCRIPT = [
  `cd -- "$1" 2>/dev/null || exit ${NO_FOLDER}`,
  "shift",
  'for file; do [ -f "$file" ] && [ -x "$file" ] && exit 0; done',
  `exit ${NO_PROGRAM}`,
].join("\n");

/** A right that a user lacks for a command to start. */
export interface AccessProblem {
  of: "cwd" | "program";
  message: string;
}

/**
 * Whether a user may enter the folder of a command and execute its program, which exist.
 *
 * @param program by its path, or by its name along `path`
 */
export async function accessProblem(
  account: Account,
  { program, cwd, path = "" }: { program: string; cwd: string; path?: string | undefined },
): Promise<AccessProblem | undefined> {
  const files = program.includes("/")
    ? [resolve(cwd, program)]
    : path.split(delimiter).map((folder) => resolve(cwd, folder, program));
  const [first = "", ...rest] = [...runningAs(account), "/bin/sh", "-c", SCRIPT, "sh", cwd, ...files];
  try {
    await promisify(execFile)(first, rest, { timeout: CHECK_MS, cwd: "/", env: {} });
    return undefined;
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === NO_FOLDER)
      return { of: "cwd", message: `${cwd} can't be entered by user ${account.name}: change permissions on its path` };
    if (code === NO_PROGRAM) {
      const message = `${program} can't be executed by user ${account.name}: change its permissions, or those of the folders above it`;
      return { of: "program", message };
    }
    const message = `${program} can't be checked as user ${account.name}: ${(error as Error).message}`;
    return { of: "program", message };
  }
}
