import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Command } from "commander";
import { DEFAULTS } from "../model/parity/defaults";
import { readLines } from "../parity/compare/lines";
import { Selection } from "../parity/compare/select";
import { replay, reportHead } from "../parity/replay/replay";
import { ReportWriter } from "../parity/replay/report";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./common/exit";
import { type GivenOptions, type ParityOptions, resolveOptions, STDIN } from "./parity/options";
import { Progress } from "./parity/progress";
import { summaryText } from "./parity/text";

const READ_SIZE = 256 * 1024;

const DETAILS = `
Each line of the requests is {"game", "query", "params"}, answered by upstream at --upstream-path and by the candidate
where the mapping says, or {"method", "path", "headers", "body"}, sent to both sides. The mapping is an object such as
{"top_players": "/v2/{game}/top-players"}. See docs/parity.md.

Exit codes: ${EXIT.good} clean, ${EXIT.problems} a mismatch, an error, or nothing compared, ${EXIT.usageError} usage.`;

/** `sluice parity`: replays requests against two systems and compares what they answer. */
export function parityCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("parity")
    .description("Replays requests against two systems, and compares the rows that they answer.")
    .option("--requests <file>", 'JSON lines, one request each; "-" reads the standard input (required)')
    .option("--upstream-url <url>", "the system that is right (required)")
    .option("--candidate-url <url>", "the system that is to answer the same (required)")
    .option("--mapping <file>", "JSON object from upstream's queries to the candidate's endpoints (required)")
    .option("--report <file>", "where the report goes, as JSON (required)")
    .option("--env <name>", "the {env} of paths")
    .option("--upstream-path <template>", "path of upstream's queries", DEFAULTS.upstreamPath)
    .option(
      "--candidate-path <template>",
      "path of mapped endpoints that are bare names, as {endpoint} (default: --upstream-path)",
    )
    .option("--pointer <json-pointer>", "what is compared in an answer", DEFAULTS.pointer)
    .option("--precision <decimals>", "to which floats are rounded", String(DEFAULTS.precision))
    .option("--concurrency <n>", "requests under way at a time, each to both sides", String(DEFAULTS.concurrency))
    .option("--timeout <seconds>", "for one answer, to its last byte", String(DEFAULTS.timeoutSeconds))
    .option("--limit <n>", "take the first n requests only")
    .option("--sample <share>", "take a share of the lines only, such as 1%; the same ones every time")
    .option("--stop-after <n>", "end the run at the n-th mismatch or error")
    .option("--headers <source>", "headers for both sides: a file, or env:NAME for an environment variable")
    .option("--upstream-headers <source>", "headers for upstream only")
    .option("--candidate-headers <source>", "headers for the candidate only")
    .option("--max-body <MiB>", "largest answer that is read", String(DEFAULTS.maxBodyMib))
    .option(
      "--details <n>",
      "mismatches that the report shows with their rows; more are named",
      String(DEFAULTS.details),
    )
    .option("--json", "print the summary as JSON")
    .addHelpText("after", DETAILS)
    .action(async (given: GivenOptions) => finish(await parity(await resolveOptions(given, terminal.env), terminal)));
}

async function parity(options: ParityOptions, terminal: Terminal): Promise<ExitCode> {
  const report = await openReport(options);
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => stop.abort(`stopped by ${signal}`);
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  let progress: Progress | undefined;
  try {
    const source = await openSource(options, terminal);
    const selection = new Selection(options);
    const begin = (tally: { total: number; problems: number }) => {
      progress = new Progress(terminal.stderr, () => ({
        requests: tally.total,
        problems: tally.problems,
        done: source.done(),
      }));
    };
    const lines = readLines(source.chunks);
    const result = await replay(lines, selection, options, { report, begin, signal: stop.signal }).finally(() =>
      progress?.stop(),
    );
    const head = reportHead(result, selection, shownOptions(options));
    await report.finish(head);
    terminal.stdout.write(
      options.json
        ? `${JSON.stringify(head, null, 2)}\n`
        : summaryText(result.summary, result.problems, options.report),
    );
    return result.summary.clean ? EXIT.good : EXIT.problems;
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await report.close();
  }
}

async function openReport({ report, details }: ParityOptions): Promise<ReportWriter> {
  try {
    return await ReportWriter.open(report, details);
  } catch (error) {
    throw new UsageError([`--report: ${(error as Error).message}`]);
  }
}

async function openSource(
  { requests }: ParityOptions,
  { stdin }: Terminal,
): Promise<{ chunks: AsyncIterable<Uint8Array>; done: () => number | undefined }> {
  if (requests === STDIN) return { chunks: stdin, done: () => undefined };
  const { size } = await stat(requests);
  const stream = createReadStream(requests, { highWaterMark: READ_SIZE });
  return { chunks: stream, done: () => (size > 0 ? Math.min(1, stream.bytesRead / size) : undefined) };
}

/** How it was compared, for the report; headers are never part of it. */
function shownOptions({ bases, ...options }: ParityOptions): Record<string, unknown> {
  const { requests, upstreamPath, candidatePath, env, pointer, precision, concurrency, timeoutMs } = options;
  const { limit, sample, stopAfter } = options;
  return {
    requests,
    upstreamUrl: bases.upstream.href,
    candidateUrl: bases.candidate.href,
    upstreamPath,
    candidatePath,
    env,
    pointer,
    precision,
    concurrency,
    timeoutMs,
    limit,
    sample,
    stopAfter,
  };
}
