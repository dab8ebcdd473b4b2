import { jsonText } from "../../model/parity/json";
import type { Mapping } from "../../model/parity/mapping";
import { fillPath } from "../../model/parity/path-template";
import type { GeneralRequest, Param, ParityRequest, QueryRequest } from "../../model/parity/request";

export type ParitySide = "upstream" | "candidate";

/** The request that one side gets. */
export interface SentRequest {
  method: string;
  /** With its query string, from "/". */
  path: string;
  headers: Record<string, string>;
  body?: string;
}

/** How requests become what is sent to the two sides. */
export interface Addressing {
  mapping: Mapping;
  /** Template of upstream's path of a query. */
  upstreamPath: string;
  /** Template of the candidate's path of a query whose endpoint is a bare name. */
  candidatePath: string;
  env?: string | undefined;
}

/** Requests for both sides, or why a request can't be sent. */
export function targetsOf(
  request: ParityRequest,
  addressing: Addressing,
): Record<ParitySide, SentRequest> | { problem: string; unmapped: boolean } {
  return request.kind === "query" ? queryTargets(request, addressing) : generalTargets(request, addressing);
}

function queryTargets(request: QueryRequest, addressing: Addressing): ReturnType<typeof targetsOf> {
  const { game, query, params } = request;
  const endpoint = addressing.mapping.get(query);
  if (endpoint === undefined)
    return { problem: `the mapping has no query ${JSON.stringify(query)}: add it`, unmapped: true };
  const named = !endpoint.path.startsWith("/");
  const facts = { env: request.env ?? addressing.env, game, query, params };
  const upstream = fillPath(addressing.upstreamPath, { ...facts, endpoint: query });
  // Upstream's own template, which a bare name falls back to, has the endpoint's place at {query}.
  const candidate = named
    ? fillPath(addressing.candidatePath, {
        ...facts,
        query: hasEndpoint(addressing.candidatePath) ? query : endpoint.path,
        endpoint: endpoint.path,
      })
    : fillPath(endpoint.path, { ...facts, endpoint: query });
  if ("problem" in upstream) return { ...upstream, unmapped: false };
  if ("problem" in candidate) return { ...candidate, unmapped: false };
  return {
    upstream: get(withQuery(upstream.path, params, upstream.used)),
    candidate:
      endpoint.method === "GET"
        ? get(withQuery(candidate.path, params, candidate.used))
        : {
            method: "POST",
            path: candidate.path,
            headers: { "content-type": "application/json" },
            body: jsonText(Object.fromEntries(Object.entries(params).filter(([name]) => !candidate.used.has(name)))),
          },
  };
}

function generalTargets(request: GeneralRequest, { mapping }: Addressing): ReturnType<typeof targetsOf> {
  const { kind: _, ...upstream } = request;
  const [path = "", ...search] = request.path.split("?");
  const endpoint = mapping.get(path);
  if (endpoint === undefined) return { upstream, candidate: upstream };
  if (!endpoint.path.startsWith("/") || endpoint.path.includes("{"))
    return {
      problem: `the mapping of the path ${JSON.stringify(path)} is not a path without placeholders: write one`,
      unmapped: true,
    };
  return { upstream, candidate: { ...upstream, path: [endpoint.path, ...search].join("?") } };
}

function hasEndpoint(template: string): boolean {
  return template.includes("{endpoint}");
}

function get(path: string): SentRequest {
  return { method: "GET", path, headers: {} };
}

function withQuery(path: string, params: Record<string, Param>, used: ReadonlySet<string>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value === null || used.has(name)) continue;
    for (const each of Array.isArray(value) ? value : [value]) search.append(name, String(each));
  }
  const text = search.toString();
  if (text === "") return path;
  return `${path}${path.includes("?") ? "&" : "?"}${text}`;
}
