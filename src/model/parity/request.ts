import { z } from "zod";
import { issueMessage, quoteValue } from "../types/messages";
import { type Json, JsonError, jsonText, parseJson } from "./json";

/** A value of the query string: a list repeats its name, null leaves it out. */
export type Param = string | number | bigint | boolean | null | (string | number | bigint | boolean)[];

/** A query of the read API: upstream's path comes from a template, the candidate's from the mapping. */
export interface QueryRequest {
  kind: "query";
  game: string;
  query: string;
  params: Record<string, Param>;
  /** Instead of the run's own environment. */
  env?: string;
}

/** Any request, sent to both sides as it is (the mapping may give the candidate another path). */
export interface GeneralRequest {
  kind: "general";
  method: string;
  /** With its query string, from "/". */
  path: string;
  headers: Record<string, string>;
  body?: string;
}

export type ParityRequest = QueryRequest | GeneralRequest;

/** Methods that are replayed: those that only read, and POST, which many query APIs read by. */
const METHODS = ["GET", "POST"] as const;

/** Headers that the client sets by itself: they belong to the connection on which a request was recorded. */
const OWN_HEADERS = new Set(
  "connection keep-alive proxy-connection transfer-encoding content-length accept-encoding upgrade te trailer expect".split(
    " ",
  ),
);

const scalar = z.union([z.string(), z.number(), z.bigint(), z.boolean()]);
const param = z.union([scalar, z.null(), z.array(scalar)], {
  error: ({ input }) =>
    `${quoteValue(input)} can't stand in a query string: give a text, a number, true, false, null or a list of them`,
});
const segment = z
  .string()
  .min(1)
  .refine((text) => text !== "." && text !== "..", {
    error: ({ input }) => `${quoteValue(input)} is not a part of a path: give a name`,
  });

/** A line of the form `{"game", "query", "params"}`. */
const queryLine = z.strictObject({
  game: segment,
  query: segment,
  params: z.record(z.string(), param).default({}),
  env: segment.optional(),
});

/** Path of an HTTP request with its query string. */
export const requestPath = z.string().regex(/^\/[!-"$-~]*$/, {
  error: ({ input }) =>
    `${quoteValue(input)} is not the path of a request: start with "/", and write spaces, "#" and letters beyond ASCII as %XX`,
});

/** A header's value: one line of Latin-1, as HTTP carries it. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Headers by name; the names in lower case. Their values never stand in a message. */
export const headers = z
  .record(
    z
      .string()
      .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, { error: ({ input }) => `${quoteValue(input)} is not a header's name` }),
    z
      .string({ error: "the value is not a text: give one" })
      .regex(HEADER_VALUE, { error: "the value holds a character that no header can carry: remove it" }),
  )
  .transform((given) => Object.fromEntries(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value])));

/** A line of the form `{"method", "path", "headers", "body"}`. A body that is not a text is sent as JSON. */
const generalLine = z.strictObject({
  method: z.string().toUpperCase().pipe(z.enum(METHODS)).default("GET"),
  path: requestPath,
  headers: headers.default({}),
  body: z.custom<Json>(() => true).optional(),
});

/** Reads one line of a requests file, or says what is wrong with it. */
export function parseRequest(text: string): { request: ParityRequest } | { problem: string } {
  let line: Json;
  try {
    line = parseJson(text);
  } catch (error) {
    if (error instanceof JsonError) return { problem: error.message };
    throw error;
  }
  if (typeof line !== "object" || line === null || Array.isArray(line))
    return {
      problem: `${quoteValue(line)} is not a request: write {"game", "query", "params"} or {"method", "path", "headers", "body"}`,
    };
  if ("query" in line === "path" in line)
    return {
      problem: `has ${"query" in line ? "both" : "neither"} "query" ${"query" in line ? "and" : "nor"} "path": write {"game", "query", "params"} or {"method", "path", "headers", "body"}`,
    };
  if ("query" in line) {
    const parsed = queryLine.safeParse(line, { error: issueMessage });
    if (!parsed.success) return { problem: problemsOf(parsed.error) };
    const { env, ...query } = parsed.data;
    return { request: { kind: "query", ...query, ...(env !== undefined && { env }) } };
  }
  const parsed = generalLine.safeParse(line, { error: issueMessage });
  if (!parsed.success) return { problem: problemsOf(parsed.error) };
  return general(parsed.data);
}

function general({
  method,
  path,
  headers: given,
  body,
}: z.infer<typeof generalLine>): { request: ParityRequest } | { problem: string } {
  if (body !== undefined && body !== null && method === "GET")
    return { problem: 'body: a GET request has none: remove it, or use "method": "POST"' };
  const kept = Object.entries(given).filter(([name]) => !OWN_HEADERS.has(name));
  const request: GeneralRequest = { kind: "general", method, path, headers: Object.fromEntries(kept) };
  if (body === undefined || body === null) return { request };
  if (typeof body === "string") return { request: { ...request, body } };
  const type = request.headers["content-type"] ?? "application/json";
  return { request: { ...request, headers: { ...request.headers, "content-type": type }, body: jsonText(body) } };
}

function problemsOf(error: z.ZodError): string {
  return error.issues
    .map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message))
    .join("; ");
}
