import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";

const LAUNCHER = path.join(process.cwd(), "src", "cli", "sluice");

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface SluiceOptions {
  env?: Record<string, string>;
  stdin?: string;
  cwd?: string;
  /** User who runs it. */
  uid?: number;
  /** Told the process's id once it runs. */
  onStart?: (pid: number) => void;
}

/** Runs the real launcher to its end. */
export function sluice(
  args: readonly string[],
  { env = {}, stdin = "", onStart, cwd, uid }: SluiceOptions = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(LAUNCHER, args, {
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
      ...(uid === undefined ? {} : { uid }),
    });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("utf8").on("data", (text: string) => {
        output[name] += text;
      });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...output }));
    // It may end before it reads anything.
    child.stdin.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") reject(error);
    });
    child.stdin.end(stdin);
    if (child.pid !== undefined) onStart?.(child.pid);
  });
}

/** Starts the real launcher with a verb that goes on until it is told to stop. */
export function follow(args: readonly string[], { env = {} }: Pick<SluiceOptions, "env"> = {}) {
  const child = spawn(LAUNCHER, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  return { child, stdout: () => text };
}

interface Report {
  clean: boolean;
  verdict: string;
  requests: Record<string, number>;
  rows: Record<string, number>;
  errors: Record<string, number>;
  timing: Record<"upstream" | "candidate", Record<string, number>>;
  lines: Record<string, unknown>;
  options: Record<string, unknown>;
  mismatchesOmitted: number;
  mismatches: {
    line: number;
    class: string;
    request?: Record<string, unknown>;
    errors?: { kind: string; side?: string; message: string }[];
    rows?: Record<string, number>;
    diff?: { missing: unknown[]; extra: unknown[]; different: { same: unknown; fields: unknown[] }[]; note?: string };
  }[];
}

export interface Bench {
  folder: string;
  /** Runs `sluice parity` on the lines; `{}` in the extra arguments stands for nothing. */
  parity(lines: readonly unknown[], extra?: readonly string[], options?: SluiceOptions): Promise<Outcome>;
  report(): Promise<Report>;
  write(name: string, content: string): Promise<string>;
}

/** A folder with a mapping, and a way to run `sluice parity` between two servers. */
export async function bench(
  t: TestContext,
  upstream: { url: string },
  candidate: { url: string },
  mapping: Record<string, unknown> = { scores: "/v2/{game}/scores" },
): Promise<Bench> {
  const folder = await mkdtemp(path.join(tmpdir(), "sl-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = (name: string) => path.join(folder, name);
  const write = async (name: string, content: string) => {
    await writeFile(file(name), content);
    return file(name);
  };
  await write("mapping.json", JSON.stringify(mapping));
  return {
    folder,
    write,
    async parity(lines, extra = [], options = {}) {
      const text = lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("");
      await write("requests.jsonl", text);
      const sides = ["--upstream-url", upstream.url, "--candidate-url", candidate.url];
      const files = [
        "--requests",
        file("requests.jsonl"),
        "--mapping",
        file("mapping.json"),
        "--report",
        file("parity.json"),
      ];
      return sluice(["parity", ...sides, ...files, "--env", "prod", ...extra], options);
    },
    report: async () => JSON.parse(await readFile(file("parity.json"), "utf8")) as Report,
  };
}

/** A query line for the mapping that {@link bench} has by itself. */
export function scores(game: string, params: Record<string, unknown> = {}): Record<string, unknown> {
  return { game, query: "scores", params };
}
