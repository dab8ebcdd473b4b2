import { createHash } from "node:crypto";
import { chmod, chown, mkdir } from "node:fs/promises";
import type { Server } from "node:net";
import { dirname, join } from "node:path";
import { listenPrivately } from "../support/private-socket";

/** Folder for sockets that HAProxy's workers may enter although they run under another account than the agent. */
const RUN_FOLDER = "/run/sluice";

/**
 * Path at which HAProxy's workers reach a socket of the agent: in its folder, or where they run under an account that must
 * not enter that, in a folder that only their group can enter.
 */
export function workerSocket(directory: string, group: number | undefined, file: string): string {
  if (group === undefined) return join(directory, file);
  return join(RUN_FOLDER, createHash("sha256").update(directory).digest("hex").slice(0, 16), file);
}

/**
 * Listens at a path; what an agent before left there is replaced.
 *
 * @param group id of the group of HAProxy's workers, where they run under another account
 */
export async function listenForWorkers(server: Server, path: string, group: number | undefined): Promise<void> {
  const folder = dirname(path);
  // Everybody may pass through the folder above, so that the group gets to its own.
  await mkdir(dirname(folder), { recursive: true, mode: group === undefined ? 0o700 : 0o755 });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (group !== undefined) {
    await chown(folder, 0, group);
    await chmod(folder, 0o750);
  }
  // Nobody may connect before owner and mode are right.
  await listenPrivately(server, path);
  if (group === undefined) return;
  await chown(path, 0, group);
  await chmod(path, 0o660);
}
