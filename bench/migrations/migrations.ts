import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { checkMigrations } from "../../model/migrations/check";
import { REPOSITORY } from "../../test/engine/support/engine";
import type { Options } from "../main";
import type { Findings } from "../support/report";
import { median, rounded } from "../support/statistics";
import { migrationText } from "./files";
import { prepareSquawk } from "./squawk";

const FILES = 1_000;
const BYTES = 2_048;
const ROUNDS = 5;
const WITHIN_SECONDS = 2;

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
  const sides: Record<string, () => Promise<unknown>> = {
    "sluice, the command": () =>
      ended(path.join(REPOSITORY, "cli", "sluice"), ["migrations", "check", "--json", folder]),
    "sluice, in a process": async () => {
      const result = await checkMigrations(files);
      errors = result.files.flatMap(({ findings }) => findings).filter(({ level }) => level === "error").length;
    },
    squawk: () => ended(squawk.file, ["--reporter", "json", "--assume-in-transaction", ...paths]),
  };
  // What is loaded and compiled once is no matter of the files.
  for (const side of Object.values(sides)) await side();
  const samples: Record<string, number[]> = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++)
    for (const [name, side] of Object.entries(sides)) {
      const started = performance.now();
      await side();
      samples[name]?.push(rounded((performance.now() - started) / 1000));
      say(`round ${round + 1}: ${name} ${samples[name]?.at(-1)} s`);
    }
  const secondsOf = (name: string) => median(samples[name] ?? []);
  const command = secondsOf("sluice, the command");
  const ratio = (name: string) => rounded(secondsOf(name) / secondsOf("squawk"), 1);
  return {
    parameters: { files: count, bytes: BYTES, rounds, squawk: squawk.version },
    samples,
    summary: Object.fromEntries(
      Object.keys(sides).map((name) => [
        name,
        { "seconds for all": rounded(secondsOf(name)), "ms per file": rounded((secondsOf(name) * 1000) / count) },
      ]),
    ),
    targets: [{ what: `${count} files by the command`, measured: rounded(command), unit: "s", atMost: WITHIN_SECONDS }],
    failures: errors > 0 ? [] : ["nothing was found in files that have something to be found"],
    notes: [
      `the command takes ${ratio("sluice, the command")} times as long as squawk, the checker itself ${ratio("sluice, in a process")} times`,
      "squawk is another tool in another language (Rust): it judges each statement of each file for itself, while Sluice folds all earlier files into a catalogue and looks into functions",
      `sluice finds ${errors} errors in the files`,
    ],
  };
}

/** Both end with 1 where they find something, which is no failure here. */
async function ended(file: string, args: readonly string[]): Promise<void> {
  const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-1_000);
  });
  const [code, signal] = await once(child, "close");
  if (code !== 0 && code !== 1) throw new Error(`${path.basename(file)} ended with ${code ?? signal}: ${said}`);
}
