import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";

/** Facts of the machine that figures depend on. Load averages tell whether something else ran meanwhile. */
export interface Machine {
  at: string;
  cpu: string;
  cores: number;
  memoryMiB: number;
  kernel: string;
  node: string;
  haproxy: string;
  load: { before: number; after: number };
}

/** Facts about this machine; `after` is taken when the returned function is called. */
export function machineFacts(): () => Machine {
  const at = new Date().toISOString();
  const before = loadAverage();
  return () => ({
    at,
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.availableParallelism(),
    memoryMiB: Math.round(os.totalmem() / 2 ** 20),
    kernel: os.release(),
    node: process.version,
    haproxy: firstLine("haproxy", ["-v"]),
    load: { before, after: loadAverage() },
  });
}

function loadAverage(): number {
  return Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]);
}

function firstLine(program: string, args: string[]): string {
  return execFileSync(program, args, { encoding: "utf8" }).split("\n")[0] ?? "";
}
