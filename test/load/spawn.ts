import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoadMix } from "./load";
import type { LoadReport } from "./report";

const ROOT = join(__dirname, "../..");
const FLAGS: Record<keyof LoadMix, string> = {
  rate: "--rate",
  connections: "--connections",
  postShare: "--post-share",
  slow: "--slow",
  websockets: "--websockets",
  streams: "--streams",
};

/** A load that runs in a process of its own, so that the caller's work and the load do not slow each other. */
export interface SpawnedLoad {
  pid: number;
  /** The numbers, at most about a second old. */
  snapshot(): LoadReport;
  /** Lets everything in flight finish, and reports. Rejects when the process failed. */
  stop(): Promise<LoadReport>;
}

/** Starts `main.ts`; resolves when the load runs. `seconds` bounds it should the caller die. */
export async function spawnLoad(options: {
  url: string;
  mix?: Partial<LoadMix>;
  seconds?: number;
  /** Duration of a slow request. @default 3 */
  slowSeconds?: number;
  /** For an answer, in seconds. @default 10 */
  patience?: number;
}): Promise<SpawnedLoad> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-load-"));
  const report = join(folder, "report.json");
  const mix = Object.entries(options.mix ?? {}).map(([name, value]) => `${FLAGS[name as keyof LoadMix]}=${value}`);
  const given = { duration: options.seconds, "slow-seconds": options.slowSeconds, patience: options.patience };
  const times = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]));
  const child = spawn(
    process.execPath,
    [...process.execArgv, join(__dirname, "main.ts"), "--url", options.url, "--report", report, ...mix, ...times],
    { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] },
  );
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const exited = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal ?? "SIGKILL"));
  });
  const read = (): LoadReport => JSON.parse(readFileSync(report, "utf8"));
  const failure = (result: number | string): Error =>
    new Error(`the load generator ended with ${result}: ${errors.trim() || "it said nothing"}`);

  const started = new Promise<undefined>((resolve) => child.stdout.once("data", () => resolve(undefined)));
  const early = await Promise.race([started, exited]);
  if (early !== undefined) {
    rmSync(folder, { recursive: true });
    throw failure(early);
  }
  return {
    pid: child.pid ?? 0,
    snapshot: read,
    async stop() {
      child.kill("SIGTERM");
      const result = await exited;
      try {
        if (result !== 0) throw failure(result);
        return read();
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}
