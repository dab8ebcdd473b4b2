import { z } from "zod";
import { issueMessage, quoteValue } from "../types/messages";
import { type Json, JsonError, lineAt, parseExactly } from "./json";
import { templateProblem } from "./path-template";

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._~-]*$/;

const path = z.string().superRefine((text, context) => {
  const problem = text.startsWith("/")
    ? templateProblem(text)
    : SEGMENT.test(text)
      ? undefined
      : `${quoteValue(text)} is not an endpoint: write a path from "/", or a name for {endpoint} in the candidate's path`;
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
});

const endpoint = z.preprocess(
  (given) => (typeof given === "string" ? { path: given } : given),
  z.strictObject({ path, method: z.enum(["GET", "POST"]).default("GET") }),
);

/**
 * The mapping file: an object from upstream's queries to the candidate's endpoints.
 *
 *     { "top_players": "/v2/{game}/top-players",
 *       "search": { "path": "/v2/{game}/search", "method": "POST" },
 *       "matches": "matches-by-day",
 *       "/legacy/scores": "/v2/scores" }
 *
 * A path from "/" is a template (`{env}`, `{game}`, `{query}`, `{params.NAME}`); a bare name fills `{endpoint}` of the
 * candidate's path template. By GET, `params` are the query string; by POST, a JSON body. A key from "/" is the path of
 * general requests, without query string: the candidate gets the same request at the path given.
 */
export const mapping = z.record(z.string().min(1), endpoint);

interface Endpoint {
  /** A template from "/", or a name for `{endpoint}`. */
  path: string;
  method: "GET" | "POST";
}

export type Mapping = ReadonlyMap<string, Endpoint>;

export interface MappingProblem {
  /** From 1. */
  line: number;
  message: string;
}

/** Reads a mapping file, or says everything that is wrong with it, by line. A key that is there twice is refused. */
export function parseMapping(text: string): { mapping: Mapping } | { problems: MappingProblem[] } {
  const lines = new Map<string, number>();
  const problems: MappingProblem[] = [];
  let document: Json;
  try {
    document = parseExactly(text, {
      onKey(key, depth, offset) {
        if (depth > 1) return;
        const line = lineAt(text, offset);
        const first = lines.get(key);
        if (first === undefined) lines.set(key, line);
        else problems.push({ line, message: `${quoteValue(key)} stands on line ${first} already: keep one of them` });
      },
    });
  } catch (error) {
    if (error instanceof JsonError) return { problems: [{ line: lineAt(text, error.offset), message: error.message }] };
    throw error;
  }
  const parsed = mapping.safeParse(document, { error: issueMessage });
  for (const issue of parsed.error?.issues ?? []) {
    const [key, ...rest] = issue.path.map(String);
    problems.push({
      line: lines.get(key ?? "") ?? 1,
      message: [key && quoteValue(key), ...rest, issue.message].filter(Boolean).join(": "),
    });
  }
  if (problems.length > 0) return { problems: problems.sort((a, b) => a.line - b.line) };
  return { mapping: new Map(Object.entries(parsed.data ?? {})) };
}
