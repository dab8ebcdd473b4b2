import type { ServerResponse } from "node:http";
import { messageOf } from "../../model/types/errors";
import type { Events } from "../events/events";
import { ApiError } from "./api-error";

export function fail(response: ServerResponse, error: unknown, events: Events): void {
  const { status: code, error: body } = errorBody(error, events);
  if (response.headersSent) response.destroy();
  // The rest of a refused body is not read: the connection can't be used again.
  else send(response, code, { error: body }, { connection: "close" });
}

export function errorBody(error: unknown, events: Events) {
  if (error instanceof ApiError)
    return { status: error.status, error: { code: error.code, message: error.message, ...error.data } };
  const message = messageOf(error);
  events.emit(`a request failed: ${message}`, { stack: error instanceof Error ? error.stack : undefined });
  return { status: 500, error: { code: "failed", message } };
}

export function send(
  response: ServerResponse,
  code: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  response.writeHead(code, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}
