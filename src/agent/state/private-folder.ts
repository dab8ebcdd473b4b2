import { mkdir, stat } from "node:fs/promises";
import { PRIVATE_FOLDER_MODE } from "../support/files";

const WRITABLE_BY_OTHERS = 0o022;
/** Others may add files to such a folder, but not replace somebody else's: `/tmp`. */
const STICKY = 0o1000;

/**
 * Makes a state folder where it is missing. Throws where it is not the own user's alone: whoever can write there chooses
 * the program that runs as that user.
 */
export async function ensurePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  const { uid, mode } = await stat(path);
  if (uid === process.getuid?.() && (mode & WRITABLE_BY_OTHERS) === 0) return;
  throw new Error(
    `${path} belongs to user ${uid} and has mode ${octal(mode)}, so that others than user ${process.getuid?.()} could replace what the agent runs: use a folder of your own with mode 0700`,
  );
}

/** Throws where others than the own user and root could put their own socket into a socket's place. */
export async function assertSocketFolder(path: string): Promise<void> {
  const { uid, mode } = await stat(path);
  const trusted = uid === 0 || uid === process.getuid?.();
  if (trusted && ((mode & WRITABLE_BY_OTHERS) === 0 || (mode & STICKY) !== 0)) return;
  throw new Error(
    `${path} belongs to user ${uid} and has mode ${octal(mode)}, so that others could replace the agent's socket in it: use a folder that only you can write to`,
  );
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
