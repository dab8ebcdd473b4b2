import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { checkMigrations } from "../../src/migrations";
import { REPOSITORY } from "../../test/engine/support/engine";
import type { Options } from "../support/options";
import type { Findings } from "../support/report";
import { median, rounded } from "../support/statistics";
import { migrationText } from "./files";
import { prepareSquawk } from "./squawk";

const FILES = 1_000;
const BYTES = 2_048;
const ROUNDS = 5;
const WITHIN_SECONDS = 2;

/** In seconds. */
interface Sample {
  seconds: number;
  cpu: number;
}

/**
 * `sluice migrations check` over a folder, the checker itself in a process that runs already, and squawk over the same
 * files, in turns.
 */
export async function migrations({ quick, scope, say }: Options): Promise<Findings> {
  const [count, rounds] = quick ? [20, 1] : [FILES, ROUNDS];
  const squawk = await prepareSquawk(say);
  const folder = await mkdtemp(path.join(tmpdir(), "sl-migrations-"));
  scope.after(() => rm(folder, { recursive: true, force: true }));
  const files = Array.from({ length: count }, (_, number) => ({
    path: path.join(folder, `${String(number).padStart(4, "0")}_orders.sql`),
    sql: migrationText(number, BYTES),
  }));
  for (const { path: file, sql } of files) {
    if (Buffer.byteLength(sql) !== BYTES) throw new Error(`${file} has ${Buffer.byteLength(sql)} bytes`);
    await writeFile(file, sql);
  }
  const paths = files.map((file) => file.path);
  let errors = 0;
  const sides: Record<string, () => Promise<number>> = {
    "sluice, the command": () =>
      cpuOf(path.join(REPOSITORY, "src", "cli", "sluice"), ["migrations", "check", "--json", folder]),
    "sluice, in a process": async () => {
      const began = process.cpuUsage();
      const result = await checkMigrations(files);
      const { user, system } = process.cpuUsage(began);
      errors = result.files.flatMap(({ findings }) => findings).filter(({ level }) => level === "error").length;
      return (user + system) / 1e6;
    },
    squawk: () => cpuOf(squawk.file, ["--reporter", "json", "--assume-in-transaction", ...paths]),
  };
  // Load and compile once before the measurement, since that is not the files' cost.
  for (const side of Object.values(sides)) await side();
  const samples: Record<string, Sample[]> = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++)
    for (const [name, side] of Object.entries(sides)) {
      const started = performance.now();
      const cpu = rounded(await side());
      const seconds = rounded((performance.now() - started) / 1000);
      samples[name]?.push({ seconds, cpu });
      say(`round ${round + 1}: ${name} ${seconds} s`);
    }
  const secondsOf = (name: string) => median((samples[name] ?? []).map(({ seconds }) => seconds));
  const cpuSecondsOf = (name: string) => median((samples[name] ?? []).map(({ cpu }) => cpu));
  const command = secondsOf("sluice, the command");
  const ratio = (name: string) => rounded(secondsOf(name) / secondsOf("squawk"), 1);
  const cpuRatio = (name: string) => rounded(cpuSecondsOf(name) / cpuSecondsOf("squawk"), 1);
  return {
    parameters: { files: count, bytes: BYTES, rounds, squawk: squawk.version },
    samples,
    summary: Object.fromEntries(
      Object.keys(sides).map((name) => [
        name,
        {
          "seconds for all": rounded(secondsOf(name)),
          "of CPU": rounded(cpuSecondsOf(name)),
          "ms per file": rounded((secondsOf(name) * 1000) / count),
        },
      ]),
    ),
    targets: [{ what: `${count} files by the command`, measured: rounded(command), unit: "s", atMost: WITHIN_SECONDS }],
    failures: errors > 0 ? [] : ["nothing was found in files that have something to be found"],
    notes: [
      `the command takes ${ratio("sluice, the command")} times as long as squawk, the checker itself ${ratio("sluice, in a process")} times; by CPU ${cpuRatio("sluice, the command")} and ${cpuRatio("sluice, in a process")} times`,
      "squawk is another tool in another language (Rust): it judges each statement of each file for itself, while Sluice folds all earlier files into a catalogue and looks into functions",
      `sluice finds ${errors} errors in the files`,
    ],
  };
}

/**
 * The seconds of processor time that a command takes, by the shell's own count. Both end with 1 where they find
 * something, which is no failure here.
 */
async function cpuOf(file: string, args: readonly string[]): Promise<number> {
  const script = '"$@" > /dev/null; code=$?; times; exit "$code"';
  const child = spawn("sh", ["-c", script, "sh", file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let times = "";
  child.stderr.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-1_000);
  });
  child.stdout.on("data", (chunk: Buffer) => {
    times += chunk.toString();
  });
  const [code, signal] = await once(child, "close");
  if (code !== 0 && code !== 1) throw new Error(`${path.basename(file)} ended with ${code ?? signal}: ${output}`);
  // The second line is about what the shell ran: `0m1.352s 0m0.140s`.
  const parts = [...(times.split("\n")[1] ?? "").matchAll(/(\d+)m([\d.]+)s/g)];
  return parts.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}
