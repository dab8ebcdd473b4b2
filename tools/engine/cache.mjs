// @ts-check
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { isExecutable } from "../setup/executables.mjs";
import { withLock } from "../setup/lock.mjs";

/** Longer than any build takes; a second set-up waits for the first instead of building as well. */
const WAIT_FOR_OTHER_SETUP_MS = 25 * 60_000;

/**
 * Folder of a user's engines: `$XDG_CACHE_HOME/sluice/engine`, by default `~/.cache/sluice/engine`.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function engineCacheRoot(env) {
  const xdg = env.XDG_CACHE_HOME;
  // The XDG specification says that relative paths are to be ignored.
  const cache = xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(env.HOME || homedir(), ".cache");
  return path.join(cache, "sluice", "engine");
}

/**
 * Whether the cached engine has every executable that it needs.
 *
 * @param {string} folder
 * @param {readonly string[]} executables
 */
export function isComplete(folder, executables) {
  return executables.every((name) => isExecutable(path.join(folder, "bin", name)));
}

/**
 * Fills the folder's `bin` once. The work is done in a temporary folder beside it and renamed, so that the folder is
 * there in full or not at all, whenever this process is killed; a concurrent caller waits and finds it there.
 *
 * @param {{folder: string, executables: readonly string[], say: (text: string) => void}} target
 * @param {(temporaryFolder: string) => Promise<void>} fill makes `temporaryFolder/bin/*`
 */
export async function fillOnce({ folder, executables, say }, fill) {
  const root = path.dirname(folder);
  const temporaryPrefix = `${path.basename(folder)}.partial-`;
  /** @param {number} pid */
  const onWait = (pid) => say(`waiting for another set-up (pid ${pid}) that is making the same engine`);
  await withLock(`${folder}.lock`, { deadlineMs: WAIT_FOR_OTHER_SETUP_MS, onWait }, async () => {
    if (isComplete(folder, executables)) return;
    for (const entry of readdirSync(root)) {
      if (entry.startsWith(temporaryPrefix)) rmSync(path.join(root, entry), { recursive: true, force: true });
    }
    const temporaryFolder = mkdtempSync(path.join(root, temporaryPrefix));
    try {
      mkdirSync(path.join(temporaryFolder, "bin"));
      await fill(temporaryFolder);
      const missing = executables.filter((name) => !isExecutable(path.join(temporaryFolder, "bin", name)));
      if (missing.length > 0) throw new Error(`the new engine lacks ${missing.join(", ")}`);
      // Only what somebody damaged by hand can be there: an intact one was found above.
      rmSync(folder, { recursive: true, force: true });
      renameSync(temporaryFolder, folder);
    } finally {
      rmSync(temporaryFolder, { recursive: true, force: true });
    }
    pointCurrentAt(folder);
  });
}

/**
 * Lets `engine/current/bin` be put on a PATH by hand, whatever the key is.
 *
 * @param {string} folder
 */
function pointCurrentAt(folder) {
  const link = path.join(path.dirname(folder), "current");
  const temporaryLink = `${link}.partial-${process.pid}`;
  rmSync(temporaryLink, { force: true });
  symlinkSync(path.basename(folder), temporaryLink);
  renameSync(temporaryLink, link);
}
