import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Command } from "commander";
import { DEFAULTS } from "../model/parity/defaults";
import { safeJson, safeText } from "../model/types/safe-text";
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
Each line of the requests is {"game", "query", "params"}, sent to upstream at --upstream-path and to the candidate at the
path in the mapping, or {"method", "path", "headers", "body"}, sent to both sides. The mapping is an object such as
{"top_players": "/v2/{game}/top-players"}. See docs/parity.md.

Exit codes: ${EXIT.good} clean, ${EXIT.problems} a mismatch, an error, or nothing compared, ${EXIT.usageError} usage.`;

/** `sluice parity`: replays requests against two systems and compares what they answer. */
export function parityCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("parity")
    .description("Replays requests against two systems, and compares the rows in their answers.")
    .option("--requests <file>", 'JSON lines, one request each; "-" reads the standard input (required)')
    .option("--upstream-url <url>", "the reference system (required)")
    .option("--candidate-url <url>", "the system that must give the same answers (required)")
    .option("--mapping <file>", "JSON object from upstream's queries to the candidate's endpoints (required)")
    .option("--report <file>", "file for the report, as JSON (required)")
    .option("--env <name>", "value of {env} in paths")
    .option("--upstream-path <template>", "path of upstream's queries", DEFAULTS.upstreamPath)
    .option(
      "--candidate-path <template>",
      "path for endpoints that the mapping gives as a bare name, {endpoint} (default: --upstream-path)",
    )
    .option("--pointer <json-pointer>", "part of each answer to compare", DEFAULTS.pointer)
    .option("--precision <decimals>", "decimals to which floats are rounded", String(DEFAULTS.precision))
    .option("--concurrency <n>", "simultaneous requests, each to both sides", String(DEFAULTS.concurrency))
    .option("--timeout <seconds>", "time limit for one answer, to its last byte", String(DEFAULTS.timeoutSeconds))
    .option("--limit <n>", "take only the first n requests")
    .option("--sample <share>", "take only a share of the lines, such as 1%; the same lines every time")
    .option("--stop-after <n>", "end the run at the n-th mismatch or error")
    .option("--headers <source>", "headers for both sides: a file, or env:NAME for an environment variable")
    .option("--upstream-headers <source>", "headers for upstream only")
    .option("--candidate-headers <source>", "headers for the candidate only")
    .option("--max-body <MiB>", "largest answer that is read", String(DEFAULTS.maxBodyMib))
    .option(
      "--details <n>",
      "mismatches that the report shows with their rows; further ones are only listed",
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
      options.json ? `${safeJson(head, 2)}\n` : safeText(summaryText(result.summary, result.problems, options.report)),
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
