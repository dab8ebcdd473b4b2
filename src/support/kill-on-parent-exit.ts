import { type ChildProcess, spawn } from "node:child_process";

/** A shell, since nothing within this process can act once that is killed. Waits until nobody holds its input any more, and ends the group that it is given. */
const SCRIPT = 'read -r _; kill -s KILL -- "-$1"';

/**
 * Ends a program, which has a process group of its own, also when this process dies (kill -9): whoever comes next must not
 * meet it still at work.
 *
 * @param failed told why it can't be
 * @returns lets go of it, once it has ended by itself
 */
export function killOnParentExit({ pid }: Pick<ChildProcess, "pid">, failed: (error: Error) => void): () => void {
  if (pid === undefined) return () => undefined;
  const watcher = spawn("/bin/sh", ["-c", SCRIPT, "sluice-leash", String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watcher.on("error", failed);
  watcher.unref();
  return () => watcher.kill("SIGKILL");
}
