import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { z } from "zod";
import { baseUrlProblem } from "../../model/parity/base-url";
import { MAX_PRECISION } from "../../model/parity/canonical";
import { MAX_CONCURRENCY } from "../../model/parity/defaults";
import { type Mapping, parseMapping } from "../../model/parity/mapping";
import { templateProblem } from "../../model/parity/path-template";
import { parsePointer } from "../../model/parity/pointer";
import { issueMessage, quoteValue } from "../../model/types/messages";
import type { ParitySide } from "../../parity/compare/target";
import { readHeaders } from "../../parity/replay/headers";
import { UsageError } from "../common/exit";

/** Requests come from the standard input. */
export const STDIN = "-";

const MIB = 1024 * 1024;
const MAX_TIMEOUT_SECONDS = 3600;

/** Options as the command line gave them, as texts. */
export interface GivenOptions {
  requests?: string;
  upstreamUrl?: string;
  candidateUrl?: string;
  mapping?: string;
  report?: string;
  env?: string;
  upstreamPath: string;
  candidatePath?: string;
  pointer: string;
  precision: string;
  concurrency: string;
  timeout: string;
  limit?: string;
  sample?: string;
  stopAfter?: string;
  details: string;
  maxBody: string;
  headers?: string;
  upstreamHeaders?: string;
  candidateHeaders?: string;
  json?: boolean;
}

/** Options of the verb, parsed. */
export interface ParityOptions {
  requests: string;
  bases: Record<ParitySide, URL>;
  mapping: Mapping;
  report: string;
  env?: string | undefined;
  upstreamPath: string;
  candidatePath: string;
  pointer: string;
  precision: number;
  concurrency: number;
  timeoutMs: number;
  limit?: number | undefined;
  /** Above 0 to 1. */
  sample?: number | undefined;
  stopAfter?: number | undefined;
  details: number;
  maxBody: number;
  headers: Record<ParitySide, Record<string, string>>;
  json: boolean;
}

const wholeNumber = (min: number, max = Number.MAX_SAFE_INTEGER) =>
  z
    .string()
    .regex(/^\d+$/, { error: ({ input }) => `${quoteValue(input)} is not a whole number: give one` })
    .transform(Number)
    .pipe(z.number().min(min).max(max));

const seconds = z
  .string()
  .regex(/^\d+(?:\.\d+)?$/, {
    error: ({ input }) => `${quoteValue(input)} is not a number of seconds: give one such as 10 or 0.5`,
  })
  .transform((text) => Math.round(Number(text) * 1000))
  .refine((ms) => ms >= 1 && ms <= MAX_TIMEOUT_SECONDS * 1000, {
    error: `is out of range: use 0.001 to ${MAX_TIMEOUT_SECONDS} seconds`,
  });

const share = z
  .string()
  .regex(/^\d+(?:\.\d+)?%$/, {
    error: ({ input }) => `${quoteValue(input)} is not a share: write one such as 1% or 0.5%`,
  })
  .transform((text) => Number(text.slice(0, -1)) / 100)
  .refine((part) => part > 0 && part <= 1, { error: "is out of range: use more than 0% and at most 100%" });

const baseUrl = z.string().transform((text, context) => {
  const problem = baseUrlProblem(text);
  if (problem === undefined) return new URL(text);
  context.addIssue({ code: "custom", message: problem });
  return z.NEVER;
});

const template = z.string().superRefine((text, context) => {
  const problem = templateProblem(text);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
});

const pointer = z.string().superRefine((text, context) => {
  try {
    parsePointer(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
  }
});

const schema = z.object({
  requests: z.string().min(1),
  upstreamUrl: baseUrl,
  candidateUrl: baseUrl,
  mapping: z.string().min(1),
  report: z.string().min(1),
  env: z.string().min(1).optional(),
  upstreamPath: template,
  candidatePath: template.optional(),
  pointer,
  precision: wholeNumber(0, MAX_PRECISION),
  concurrency: wholeNumber(1, MAX_CONCURRENCY),
  timeout: seconds,
  limit: wholeNumber(1).optional(),
  sample: share.optional(),
  stopAfter: wholeNumber(1).optional(),
  details: wholeNumber(0),
  maxBody: wholeNumber(1, 1024),
  headers: z.string().optional(),
  upstreamHeaders: z.string().optional(),
  candidateHeaders: z.string().optional(),
  json: z.boolean().default(false),
});

/** Checks everything that can be checked before the first request. Throws a UsageError with all problems at once. */
export async function resolveOptions(
  given: GivenOptions,
  env: Record<string, string | undefined>,
): Promise<ParityOptions> {
  const parsed = schema.safeParse(given, { error: issueMessage });
  const problems = (parsed.error?.issues ?? []).map(({ path, message }) => `${flag(String(path[0]))}: ${message}`);
  const attempt = async <T>(name: keyof GivenOptions, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      problems.push(
        ...messageOf(error as NodeJS.ErrnoException)
          .split("\n")
          .map((each) => `${flag(name)}: ${each}`),
      );
      return undefined;
    }
  };
  const headersFrom = (name: "headers" | "upstreamHeaders" | "candidateHeaders") => {
    const source = given[name];
    return source === undefined ? {} : attempt(name, () => readHeaders(source, env));
  };
  // A missing file is among the problems already.
  const mapping = given.mapping && (await attempt("mapping", () => readMapping(given.mapping ?? "")));
  if (given.requests) await attempt("requests", () => checkReadable(given.requests ?? ""));
  await attempt("report", () => checkWritable(given));
  const common = await headersFrom("headers");
  const upstream = { ...common, ...(await headersFrom("upstreamHeaders")) };
  const candidate = { ...common, ...(await headersFrom("candidateHeaders")) };
  if (!parsed.success || !mapping || problems.length > 0) throw new UsageError(problems);
  const { upstreamUrl, candidateUrl, timeout, maxBody, candidatePath, ...rest } = parsed.data;
  return {
    ...rest,
    mapping,
    bases: { upstream: upstreamUrl, candidate: candidateUrl },
    candidatePath: candidatePath ?? rest.upstreamPath,
    timeoutMs: timeout,
    maxBody: maxBody * MIB,
    headers: { upstream, candidate },
  };
}

function messageOf(error: NodeJS.ErrnoException): string {
  return error.code === "ENOENT"
    ? `${quoteValue(error.path)} does not exist: give a file that can be read`
    : error.message;
}

async function readMapping(file: string): Promise<Mapping> {
  const read = parseMapping(await readFile(file, "utf8"));
  if ("mapping" in read) return read.mapping;
  throw new Error(read.problems.map(({ line, message }) => `${file}, line ${line}: ${message}`).join("\n"));
}

async function checkReadable(file: string): Promise<void> {
  if (file !== STDIN && (await stat(file)).isDirectory())
    throw new Error(`${quoteValue(file)} is a folder: give a file, or "-"`);
}

/** The report takes the place of whatever has its name, so that must be an older report. */
async function checkWritable({ report = "", ...given }: GivenOptions): Promise<void> {
  const inputs = [given.requests, given.mapping, given.headers, given.upstreamHeaders, given.candidateHeaders];
  const found = await stat(report).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isFile()) throw new Error(`${quoteValue(report)} is not a file: give another name`);
  for (const input of inputs)
    if (input !== undefined && resolve(input) === resolve(report))
      throw new Error(`${quoteValue(report)} is an input as well, which the report would replace: give another name`);
}

/** `upstreamUrl` as it is written on the command line. */
function flag(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
