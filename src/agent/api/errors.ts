import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { messageOf } from "../../model/types/errors";
import { withTimeout } from "../../support/waiting";
import type { Events } from "../events/events";
import { ApiError } from "./api-error";

/** Time for a client to finish sending a body that is refused, in milliseconds. */
const REST_MS = 10_000;

export async function fail(response: ServerResponse, error: unknown, events: Events): Promise<void> {
  const { status: code, error: body } = errorBody(error, events);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // A connection with a part of a body on it can't be used again.
  const headers: Record<string, string> = (await dropRest(response.req)) ? {} : { connection: "close" };
  send(response, code, { error: body }, headers);
}

/**
 * Reads what is left of a body and drops it. Closing under a client that still sends makes its next write fail, often
 * before it has read the answer.
 *
 * @returns whether all of it came in time
 */
async function dropRest(request: IncomingMessage): Promise<boolean> {
  if (!request.complete && !request.destroyed) {
    request.resume();
    await withTimeout(once(request, "close"), REST_MS, () => undefined);
  }
  return request.complete;
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
