import type { Json } from "../../model/parity/json";
import { isSecretName, REDACTED, type Redactor } from "../../model/parity/redact";
import type { ParityRequest } from "../../model/parity/request";
import { clip, clipText } from "./clip";

/** Name of a request in a report: without its headers and body, secrets hidden, clipped. */
export type RequestName =
  | { game: string; query: string; params: Json; env?: string }
  | { method: string; path: string };

export function nameOf(request: ParityRequest, redactor: Redactor): RequestName {
  if (request.kind === "general")
    return { method: request.method, path: clipText(redactor.text(hideParams(request.path))) };
  const { game, query, params, env } = request;
  return {
    game: clipText(game),
    query: clipText(query),
    params: clip(redactor.value(params)),
    ...(env !== undefined && { env: clipText(env) }),
  };
}

function hideParams(path: string): string {
  const [before, ...search] = path.split("?");
  if (search.length === 0) return path;
  const pairs = search.join("?").split("&");
  const hidden = pairs.map((pair) => {
    const [name = ""] = pair.split("=");
    return isSecretName(name) && pair !== name ? `${name}=${REDACTED}` : pair;
  });
  return `${before}?${hidden.join("&")}`;
}
