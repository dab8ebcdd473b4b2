import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import type { PoolCanaryInput } from "../../../src/model/pool/pool-share";
import type { StepInput } from "../../../src/model/protocol/transaction";

/**
 * The deployer as one file, which starts several times faster than its sources. Built before any test begins: a promotion of this
 * process would lose its lease meanwhile.
 */
const PROGRAM = build();

function build(): string {
  const folder = mkdtempSync(join(tmpdir(), "sl-deployer-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const outfile = join(folder, "deployer.cjs");
  buildSync({
    entryPoints: [join(__dirname, "deployer.ts")],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
  });
  return outfile;
}

export interface Deployment {
  pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Exit code (or the signal that ended it), and what it said. */
  finished: Promise<{ exit: number | NodeJS.Signals; output: string }>;
}

/**
 * Starts a deployer process that runs one promotion.
 *
 * @param canary the candidate that the pool declares, where it has one
 */
export function deploy(socket: string, start: StepInput, canary?: PoolCanaryInput): Deployment {
  const args = [PROGRAM, socket, JSON.stringify(start), ...(canary === undefined ? [] : [JSON.stringify(canary)])];
  const child: ChildProcess = spawn(process.execPath, args, {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let output = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const finished = new Promise<Awaited<Deployment["finished"]>>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ exit: code ?? signal ?? "SIGKILL", output }));
  });
  return { pid: child.pid ?? 0, kill: (signal) => void child.kill(signal), finished };
}
