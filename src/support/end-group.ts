import type { ChildProcess } from "node:child_process";

/** Ends a program that was started in a process group of its own, with all that it has started there. */
export function endGroup({ pid }: Pick<ChildProcess, "pid">): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
