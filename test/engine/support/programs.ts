import { type ChildProcess, fork } from "node:child_process";
import path from "node:path";

/** A process that runs programs of stacks, one at a time. */
interface ProgramHost {
  process: ChildProcess;
  port: number;
}

/** Those that nobody uses. */
const idle: ProgramHost[] = [];

/**
 * Lends a process that runs programs without loading the SDK each time, which takes as long as all else of a small update, and
 * the address for `--client`. `end` takes it back; after a command that failed it may not be done, so that it is ended.
 */
export async function lendProgramHost(): Promise<{ address: string; end: (succeeded: boolean) => void }> {
  const host = idle.pop() ?? (await startProgramHost());
  const { process: child, port } = host;
  return {
    address: `127.0.0.1:${port}`,
    end: (succeeded) => {
      if (succeeded && child.exitCode === null && child.signalCode === null) idle.push(host);
      else child.kill("SIGKILL");
    },
  };
}

async function startProgramHost(): Promise<ProgramHost> {
  const child = fork(path.join(__dirname, "program-host.ts"), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once("message", (message) => resolve(Number(message)));
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`the host of programs ended with ${code ?? signal}`)));
  });
  child.removeAllListeners("exit");
  child.once("exit", () => {
    const index = idle.findIndex((each) => each.process === child);
    if (index >= 0) idle.splice(index, 1);
  });
  // It ends with this process, and must not keep it.
  child.unref();
  child.channel?.unref();
  return { process: child, port };
}
