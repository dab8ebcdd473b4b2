import type { Stats } from "node:fs";
import { lstat, mkdir, readlink, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve, sep } from "node:path";
import { privateGroupOf } from "../../support/accounts";
import { ifThere, PRIVATE_FOLDER_MODE } from "../support/files";

const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_ANYONE = 0o002;
const WRITABLE_BY_OTHERS = WRITABLE_BY_GROUP | WRITABLE_BY_ANYONE;
/** Others may add files to such a folder, but not replace somebody else's: `/tmp`. */
const STICKY = 0o1000;
/** Symbolic links that Linux follows within one path. */
const MAX_LINKS = 40;

/**
 * Makes a state folder where it is missing. Throws where it is not the own user's alone: whoever can write there, or put
 * another folder in its place, chooses the program that runs as that user.
 */
export async function ensurePrivateFolder(path: string): Promise<void> {
  const subject = "the agent's state folder";
  await assertPrivatePath(dirname(resolve(path)), subject);
  await mkdir(path, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  const { uid, mode } = await stat(path);
  if (uid !== process.getuid?.() || (mode & WRITABLE_BY_OTHERS) !== 0)
    throw new Error(
      `${path} belongs to user ${uid} and has mode ${octal(mode)}, so that others than user ${process.getuid?.()} could replace what the agent runs: use a folder of your own with mode 0700`,
    );
  // Others may have made a folder on the way in a shared one meanwhile.
  await assertPrivatePath(path, subject);
}

/** Throws where others than the own user and root could put their own socket into a socket's place. */
export async function assertSocketFolder(path: string): Promise<void> {
  await assertPrivatePath(path, "the agent's socket");
}

/**
 * Throws where anyone could lead the agent to another file than its log. The group of `/var/log` may write there on some
 * systems.
 */
export async function assertLogFolder(path: string): Promise<void> {
  await assertPrivatePath(path, "the agent's log", WRITABLE_BY_ANYONE);
}

/**
 * Throws where others than the own user and root could replace something on a path: a folder or a link that leads there
 * is theirs, or they may write to a folder that is not sticky. Ends at the first name that is not there.
 *
 * @param subject of the message, as in `the agent's socket`
 * @param writable mode bits that others must not have
 */
async function assertPrivatePath(path: string, subject: string, writable = WRITABLE_BY_OTHERS): Promise<void> {
  for await (const { at, stats } of stepsTo(path)) {
    const { uid, mode } = stats;
    const trusted = uid === 0 || uid === process.getuid?.();
    // In a sticky folder, names are safe whose owner is trusted, as the next step checks.
    const fixed = stats.isSymbolicLink() || (mode & writable) === 0 || (mode & STICKY) !== 0;
    if (trusted && (fixed || (await isWritableByOwnGroupAlone(stats)))) continue;
    throw new Error(
      `${at} belongs to user ${uid} and has mode ${octal(mode)}, so that others could replace ${subject} in it (${path}): use a folder that only you can write to, as all above it`,
    );
  }
}

/** Whether the group that may write to a folder is the own user's alone, as with a umask of 0002. */
async function isWritableByOwnGroupAlone({ gid, mode }: Stats): Promise<boolean> {
  if ((mode & WRITABLE_BY_ANYONE) !== 0) return false;
  return gid === (await privateGroupOf(process.getuid?.() ?? 0));
}

/** Everything that decides where a path leads: each folder, and each symbolic link, from the root on. */
async function* stepsTo(path: string): AsyncGenerator<{ at: string; stats: Stats }> {
  const names = resolve(path).split(sep).filter(Boolean);
  let folder: string = sep;
  let links = 0;
  yield { at: folder, stats: await stat(folder) };
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const at = join(folder, name);
    if (name === "..") {
      folder = at;
      continue;
    }
    const stats = await ifThere(lstat(at));
    if (stats === undefined) return;
    yield { at, stats };
    if (!stats.isSymbolicLink()) {
      folder = at;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw new Error(`${path} leads through a loop of symbolic links at ${at}: remove that one`);
    const target = await readlink(at);
    names.unshift(...target.split(sep).filter((part) => part !== "" && part !== "."));
    if (isAbsolute(target)) folder = sep;
  }
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
