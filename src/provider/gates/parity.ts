import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import type { ParityGate } from "../../model/gate/gate";
import type { Probe } from "../../model/gate/verdict";
import { DEFAULTS } from "../../model/parity/defaults";
import { type Mapping, parseMapping } from "../../model/parity/mapping";
import { parsePercent, SPLIT_PARTS } from "../../model/route/split";
import { milliseconds } from "../../model/types/duration";
import { bytes } from "../../model/types/size";
import type { ErrorKind } from "../../parity/compare/answer";
import { type Line, readLines } from "../../parity/compare/lines";
import type { ParityResult } from "../../parity/compare/result";
import { Selection } from "../../parity/compare/select";
import type { Summary } from "../../parity/compare/tally";
import { readHeaders } from "../../parity/replay/headers";
import { type Replay, type ReplayOptions, replay, reportHead } from "../../parity/replay/replay";
import { ReportWriter } from "../../parity/replay/report";
import { type ProbeContext, probeResult } from "./context";

/** Time between two lines of progress, in milliseconds. */
const SHOW_MS = 1000;
/** Why a side says nothing at all, rather than something else. */
const SILENT: ReadonlySet<string> = new Set<ErrorKind>(["unreachable", "timeout"]);

/** Compares what two systems answer to the same requests. Where neither side could be asked at all, there is no verdict. */
export async function probeParity(gate: ParityGate, context: ProbeContext): Promise<Probe> {
  const options = await optionsOf(gate);
  const selection = new Selection({
    limit: gate.limit,
    sample: gate.share === undefined ? undefined : (parsePercent(gate.share) ?? 0) / SPLIT_PARTS,
  });
  const report = gate.report === undefined ? undefined : await ReportWriter.open(gate.report, DEFAULTS.details);
  let timer: NodeJS.Timeout | undefined;
  const begin = (tally: { total: number; problems: number }) => {
    const show = () =>
      context.progress(`${context.title}: parity of ${tally.total} requests, ${tally.problems} not equal`);
    timer = setInterval(show, SHOW_MS);
  };
  try {
    const result = await replay(linesOf(gate, context), selection, options, { report, begin, signal: context.signal });
    await report?.finish(reportHead(result, selection, shownOptions(gate)));
    return judge(gate, result);
  } finally {
    clearInterval(timer);
    await report?.close();
  }
}

/**
 * Problems of a gate's files and environment, each with its property.
 *
 * @param env environment of this process
 */
export async function parityProblems(
  gate: ParityGate,
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ property: keyof ParityGate; message: string }[]> {
  const problems: { property: keyof ParityGate; message: string }[] = [];
  const attempt = async (property: keyof ParityGate, work: () => Promise<unknown>) => {
    await work().catch((error: NodeJS.ErrnoException) => {
      const message =
        error.code === "ENOENT" ? `${error.path} does not exist: give a file that can be read` : error.message;
      problems.push({ property, message });
    });
  };
  const { requests, mapping } = gate;
  if (requests !== undefined) await attempt("requests", () => readable(requests));
  await attempt("mapping", () => mappingOf(mapping));
  for (const property of ["headers", "upstreamHeaders", "candidateHeaders"] as const)
    await attempt(property, () => headersFrom(gate[property], env));
  return problems;
}

async function optionsOf(gate: ParityGate): Promise<ReplayOptions> {
  const common = await headersFrom(gate.headers);
  return {
    bases: { upstream: new URL(gate.upstreamUrl), candidate: new URL(gate.candidateUrl) },
    mapping: await mappingOf(gate.mapping),
    upstreamPath: gate.upstreamPath,
    candidatePath: gate.candidatePath ?? gate.upstreamPath,
    env: gate.env,
    pointer: gate.pointer,
    precision: gate.precision,
    concurrency: gate.concurrency,
    timeoutMs: milliseconds(gate.requestTimeout),
    maxBody: bytes(gate.maxBody),
    headers: {
      upstream: { ...common, ...(await headersFrom(gate.upstreamHeaders)) },
      candidate: { ...common, ...(await headersFrom(gate.candidateHeaders)) },
    },
  };
}

async function headersFrom(
  source: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Record<string, string>> {
  return source === undefined ? {} : readHeaders(source, env);
}

async function mappingOf(given: ParityGate["mapping"]): Promise<Mapping> {
  if (typeof given !== "string") return new Map(Object.entries(given));
  const read = parseMapping(await readFile(given, "utf8"));
  if ("mapping" in read) return read.mapping;
  throw new Error(read.problems.map(({ line, message }) => `${given}, line ${line}: ${message}`).join("\n"));
}

/** Rejects where a file can't be read. */
async function readable(file: string): Promise<void> {
  const stream = createReadStream(file, { end: 0 });
  for await (const _ of stream) break;
}

function linesOf({ requests }: ParityGate, { edges, candidate }: ProbeContext): AsyncIterable<Line> {
  if (requests !== undefined) return readLines(createReadStream(requests));
  if (candidate.route === undefined) throw new Error("there is no route whose sample could be compared: give requests");
  return sampleLines(edges, candidate.route);
}

/** The samples of all agents, one after the other. */
async function* sampleLines(edges: ProbeContext["edges"], route: string): AsyncGenerator<Line> {
  let line = 0;
  for (const agent of new Set(edges.map((edge) => edge.agent)))
    for await (const request of agent.sample(route)) yield { line: ++line, text: JSON.stringify(request) };
}

/** Passes only if both sides are known to be the same. */
function judge(gate: ParityGate, { summary, problems }: Replay): Probe {
  const { total, compared, equal, error } = summary.requests;
  const values = { total, compared, equal, mismatches: compared - equal, errors: error };
  const where = gate.report === undefined ? "" : ` (see ${gate.report})`;
  const first = problems[0] === undefined ? "" : `; first: ${problemText(problems[0])}`;
  if (compared === 0 && total > 0 && isSilent(summary))
    return probeResult("unavailable", `no answer to any of ${total} requests${first}`, values);
  if (total - equal > gate.maxProblems)
    return probeResult(
      "fail",
      `of ${total} requests, ${compared - equal} differ and ${error} failed${where}${first}`,
      values,
    );
  if (compared < gate.minCompared)
    return probeResult("insufficient", `${compared} requests compared, of at least ${gate.minCompared}`, values);
  if (summary.rows.upstream === 0)
    return probeResult("insufficient", `no rows in the answers to ${total} requests from either side`, values);
  return probeResult("pass", `${equal} of ${total} requests have the same answer`, values);
}

function isSilent({ errors }: Summary): boolean {
  return Object.keys(errors).every((kind) => SILENT.has(kind));
}

function problemText({ line, request, ...result }: ParityResult): string {
  const name =
    request === undefined
      ? ""
      : "path" in request
        ? ` ${request.method} ${request.path}`
        : ` ${request.query} of ${request.game}`;
  const why =
    result.outcome === "error"
      ? `: ${result.errors.map(({ side, message }) => `${side ?? "request"}: ${message}`).join("; ")}`
      : "";
  return `line ${line}${name}: ${result.outcome}${why}`;
}

/** How it was compared, for the report; headers are never part of it. */
function shownOptions({ kind: _, name: _name, ...gate }: ParityGate): Record<string, unknown> {
  return gate;
}
