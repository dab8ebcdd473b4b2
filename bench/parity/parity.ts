import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { REPOSITORY } from "../../test/engine/support/engine";
import { temporaryFolder } from "../../test/support/agent";
import { freePorts } from "../../test/support/ports";
import type { Options } from "../support/options";
import { answers, start } from "../support/processes";
import type { Findings } from "../support/report";
import { median, rounded } from "../support/statistics";

const run = promisify(execFile);

const ROUNDS = 5;
const REQUESTS = 30_000;
/** The loop is so much slower that fewer tell its rate as well. */
const NAIVE_REQUESTS = 2000;
const QUICK_REQUESTS = 300;
const ROWS = 20;
const CONCURRENCY = 32;
const TARGET = 3000;

/**
 * Comparisons per second of the whole command, its start and its report included, between two systems that answer 20 rows
 * of six fields in different orders; against a loop as one writes it in an afternoon.
 */
export async function parity({ quick, scope, say }: Options): Promise<Findings> {
  const folder = await temporaryFolder(scope);
  const file = (name: string) => join(folder, name);
  const rows = Array.from({ length: ROWS }, (_, id) => ({
    id,
    name: `player ${id}`,
    score: id / 3,
    rating: 1500.25 + id,
    active: id % 2 === 0,
    day: "2026-11-21",
  }));
  const urls = [];
  for (const data of [rows, rows.toReversed()]) {
    const port = await freePorts(1);
    await writeFile(file(`${port}.json`), JSON.stringify({ data }));
    const environment = { PORT: String(port), ROWS: file(`${port}.json`) };
    const { errors } = start(scope, ["haproxy", "-db", "-f", join(__dirname, "system.cfg")], environment);
    await answers(`http://127.0.0.1:${port}/`, "a system", errors);
    urls.push(`http://127.0.0.1:${port}`);
  }
  const [upstream = "", candidate = ""] = urls;
  await writeFile(file("mapping.json"), JSON.stringify({ scores: "/v2/{game}/scores" }));
  const requests = async (count: number) => {
    const lines = Array.from({ length: count }, (_, n) =>
      JSON.stringify({ game: "chess", query: "scores", params: { n } }),
    );
    await writeFile(file(`${count}.jsonl`), `${lines.join("\n")}\n`);
    return { count, path: file(`${count}.jsonl`) };
  };
  const [many, few] = [
    await requests(quick ? QUICK_REQUESTS : REQUESTS),
    await requests(quick ? QUICK_REQUESTS : NAIVE_REQUESTS),
  ];

  const sluice = async (): Promise<number> => {
    const sides = ["--upstream-url", upstream, "--candidate-url", candidate, "--env", "bench"];
    const files = ["--requests", many.path, "--mapping", file("mapping.json"), "--report", file("parity.json")];
    const started = performance.now();
    await run(join(REPOSITORY, "src", "cli", "sluice"), [
      "parity",
      ...sides,
      ...files,
      "--concurrency",
      String(CONCURRENCY),
    ]);
    const seconds = (performance.now() - started) / 1000;
    const report = JSON.parse(await readFile(file("parity.json"), "utf8")) as { requests: { equal: number } };
    if (report.requests.equal !== many.count)
      throw new Error(`only ${report.requests.equal} of ${many.count} were equal`);
    return rounded(many.count / seconds, 0);
  };
  const naive = async (): Promise<number> => {
    const started = performance.now();
    const { stdout } = await run(process.execPath, [join(__dirname, "naive.mjs"), few.path, upstream, candidate]);
    if (Number(stdout) !== few.count) throw new Error(`the loop found only ${stdout.trim()} of ${few.count} equal`);
    return rounded((few.count / (performance.now() - started)) * 1000, 0);
  };

  const samples: Record<"sluice parity" | "naive loop", number[]> = { "sluice parity": [], "naive loop": [] };
  // The first run builds the bundle and its start-up cache.
  await sluice();
  const rounds = quick ? 1 : ROUNDS;
  for (let round = 0; round < rounds; round++) {
    samples["sluice parity"].push(await sluice());
    samples["naive loop"].push(await naive());
    const [own, loop] = [samples["sluice parity"].at(-1), samples["naive loop"].at(-1)];
    say(`round ${round + 1} of ${rounds}, comparisons/s: sluice parity ${own}, naive loop ${loop}`);
  }
  const rate = median(samples["sluice parity"]);
  return {
    parameters: { requests: many.count, naiveRequests: few.count, rows: ROWS, concurrency: CONCURRENCY, rounds },
    samples,
    summary: {
      "sluice parity": { "comparisons/s": rate, "rows/s": rate * ROWS * 2 },
      "naive loop": {
        "comparisons/s": median(samples["naive loop"]),
        "rows/s": median(samples["naive loop"]) * ROWS * 2,
      },
    },
    targets: [{ what: "comparisons/s", measured: rate, unit: "/s", atLeast: TARGET, rounds: samples["sluice parity"] }],
    failures: [],
    notes: [
      `times the naive loop: ${rounded(median(samples["sluice parity"].map((own, i) => own / (samples["naive loop"][i] ?? 0))), 1)}`,
    ],
  };
}
