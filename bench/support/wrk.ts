import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { codeOf } from "../../src/model/types/errors";

const run = promisify(execFile);

export interface WrkResult {
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  requests: number;
  /** Answers that were no success, and errors of sockets. */
  errors: number;
}

const MS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

/** Puts a closed-loop load on a URL; with a script of wrk's, whatever that makes of it. */
export async function wrk(
  url: string,
  { connections, seconds, script }: { connections: number; seconds: number; script?: string },
): Promise<WrkResult> {
  // One thread: on a machine with few cores, more of them only take time from the proxy.
  const args = ["--threads", "1", "--connections", String(connections), "--duration", `${seconds}s`, "--latency"];
  const scripted = script === undefined ? [] : ["--script", script];
  return parse((await run("wrk", [...args, ...scripted, url], { timeout: (seconds + 30) * 1000 })).stdout);
}

/** Reads what wrk printed. Throws where it is not that. */
export function parse(output: string): WrkResult {
  const latency = (percent: number): number => {
    const match = new RegExp(`^\\s+${percent}%\\s+([\\d.]+)(us|ms|s|m)\\b`, "m").exec(output);
    return Number(match?.[1]) * (MS[match?.[2] ?? ""] ?? Number.NaN);
  };
  const count = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? 0);
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output) ?? [];
  const result = {
    requestsPerSecond: Number(/^Requests\/sec:\s+([\d.]+)/m.exec(output)?.[1]),
    p50Ms: latency(50),
    p99Ms: latency(99),
    requests: count(/(\d+) requests in/),
    errors: count(/Non-2xx or 3xx responses: (\d+)/) + sockets.slice(1).reduce((sum, text) => sum + Number(text), 0),
  };
  if (Object.values(result).some(Number.isNaN)) throw new Error(`wrk said nothing that can be read: ${output}`);
  return result;
}

/** Makes sure that there is a wrk: from PATH, else installed as root on Debian and Ubuntu. */
export async function prepareWrk(say: (line: string) => void): Promise<void> {
  if (await isThere()) return;
  const command = ["apt-get", "install", "-y", "--no-install-recommends", "wrk"] as const;
  const remedy = `wrk is needed as the load generator and is not on PATH: run \`${process.getuid?.() === 0 ? "" : "sudo "}${command.join(" ")}\``;
  if (process.getuid?.() !== 0) throw new Error(remedy);
  say(command.join(" "));
  try {
    await run(command[0], command.slice(1), {
      timeout: 120_000,
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  } catch (cause) {
    throw new Error(`${remedy} (here it failed: ${(cause as Error).message.split("\n")[0]})`, { cause });
  }
}

async function isThere(): Promise<boolean> {
  try {
    await run("wrk", ["--version"]);
    return true;
  } catch (error) {
    // It prints its version and usage, and ends with 1.
    return codeOf(error) !== "ENOENT";
  }
}
