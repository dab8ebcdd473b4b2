import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { PROTOCOL } from "../../model/protocol/transaction";
import { ApiError } from "./api-error";
import { ANSWERED, bodyOf, type ServerParts } from "./call";
import { fail, send } from "./errors";
import { ROUTES } from "./router";

/** Largest request body, in bytes. */
export const MAX_BODY = 1024 * 1024;

/** Time for a request's body, and for that of an artifact, in milliseconds. */
const BODY_MS = 30_000;

const UPLOAD_MS = 3_600_000;

/** The agent's HTTP API. Every answer is JSON; errors are `{error: {code, message, ...}}`. */
export function createApi(parts: ServerParts): Server {
  const server = createServer((request, response) => {
    answer(parts, request, response).catch((error: unknown) => fail(response, error, parts.events));
  });
  server.keepAliveTimeout = 60_000;
  // Of artifacts, which may be large; all other bodies have a time of their own.
  server.requestTimeout = UPLOAD_MS;
  server.maxHeadersCount = 50;
  server.on("clientError", refuse);
  return server;
}

/** Answers what is no HTTP request that can be read, in the form of all other errors. */
function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, reason] = REFUSALS[error.code ?? ""] ?? ["400 Bad Request", "is not HTTP"];
  const body = JSON.stringify({ error: { code: "not-http", message: `the request ${reason}: ${error.message}` } });
  const head = [`HTTP/1.1 ${status}`, "content-type: application/json", `content-length: ${Buffer.byteLength(body)}`];
  socket.end([...head, "connection: close", "", body].join("\r\n"));
}

const REFUSALS: Record<string, [status: string, reason: string]> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "has too large headers"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "did not come in time"],
};

async function answer(parts: ServerParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "").split("?")[0] ?? "";
  const here = ROUTES.filter(([, pattern]) => pattern.test(path));
  const route = here.find(([method]) => method === request.method);
  if (route === undefined) {
    const known =
      here.length === 0 ? "is not part of the agent's API" : `takes ${here.map(([method]) => method).join(", ")}`;
    throw new ApiError(404, "unknown-route", `${request.method} ${path.slice(0, 200)} is refused: that path ${known}`);
  }
  checkProtocol(request, path, parts);
  const body = request.method === "POST" ? await readBody(request) : undefined;
  const params = route[1].exec(path)?.slice(1) ?? [];
  const result = await route[2]({ parts, params, body, request, response });
  if (result !== ANSWERED) send(response, 200, result ?? {});
}

/** A client of another protocol may ask who this is and replace the agent, nothing else. */
function checkProtocol(request: IncomingMessage, path: string, parts: ServerParts): void {
  const theirs = request.headers["sluice-protocol"];
  if (theirs === undefined || theirs === String(PROTOCOL) || path === "/v1/about" || path === "/v1/shutdown") return;
  throw new ApiError(
    409,
    "protocol",
    `the agent is version ${parts.about().version} and speaks protocol ${PROTOCOL}, but its client speaks ${String(theirs).slice(0, 20)}: update the host's Agent resource first (apps go on running)`,
  );
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  const late = setTimeout(() => request.destroy(new Error(`its body did not come within ${BODY_MS} ms`)), BODY_MS);
  try {
    for await (const chunk of bodyOf(request)) {
      size += chunk.length;
      if (size > MAX_BODY)
        throw new ApiError(
          413,
          "too-large",
          `the request's body is larger than ${MAX_BODY} bytes: put what is large, such as long variables, into files of the release`,
        );
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(late);
  }
  if (size === 0) return {};
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw new ApiError(400, "not-json", `the request's body is not JSON: ${(error as Error).message}`);
  }
}
