import { type Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";

/**
 * A server that closes an idle connection has its FIN or RST on the way before our request arrives, so we see it within
 * a round trip (the rest of this allows for a busy machine). A connection that dies later had its request accepted and dropped, which is a failure.
 */
const IDLE_CLOSE_WINDOW_MS = 200;

export interface Target {
  host: string;
  port: number;
}

export interface Question {
  method: "GET" | "POST";
  path: string;
  body?: string;
  /** From the call to the last byte of the answer, waits for a connection included. */
  timeoutMs: number;
}

export interface Answer {
  status: number;
  /** Header `x-release`, "?" without it. */
  version: string;
  body: string;
  /** When the head arrived, ms since the epoch. */
  headAt: number;
}

/** The request has no complete answer. */
export class ExchangeError extends Error {
  constructor(
    message: string,
    /** The server closed a reused connection, before any byte of an answer, as the request was sent. */
    readonly idleClose: boolean,
  ) {
    super(message);
  }
}

export interface ExchangeEvents {
  connected(): void;
  reopened(): void;
}

/**
 * Sends a request on the agent's connection. Nothing is retried, with one exception that RFC 9112 section 9.3.1 and
 * RFC 9110 section 9.2.2 leave to every client: a GET whose reused connection the server closed while it was idle
 * is sent once more, on a fresh connection, and `reopened` is told.
 *
 * Rejects with an {@link ExchangeError}.
 */
export async function exchange(
  target: Target,
  question: Question,
  agent: Agent,
  events: ExchangeEvents,
): Promise<Answer> {
  try {
    return await sendOnce(target, question, agent, events);
  } catch (error) {
    if (!(error instanceof ExchangeError && error.idleClose && question.method === "GET")) throw error;
    events.reopened();
    return sendOnce(target, question, false, events);
  }
}

function sendOnce(target: Target, question: Question, agent: Agent | false, events: ExchangeEvents): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method, path, body } = question;
    const headers = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const outgoing = request({ ...target, method, path, headers, agent });
    const wasIdleClose = watchConnection(outgoing, events);
    const timer = setTimeout(() => {
      outgoing.destroy(new Error(`no complete answer within ${question.timeoutMs} ms`));
    }, question.timeoutMs);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(new ExchangeError(`${method} ${path}: ${error.message}`, wasIdleClose(error)));
    };
    outgoing.on("error", fail);
    outgoing.on("response", (response: IncomingMessage) => {
      const headAt = Date.now();
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", (error) => fail(new Error(`cut after its head: ${error.message}`)));
      response.on("end", () => {
        clearTimeout(timer);
        resolve({
          status: response.statusCode ?? 0,
          version: String(response.headers["x-release"] ?? "?"),
          body: Buffer.concat(chunks).toString(),
          headAt,
        });
      });
    });
    outgoing.end(body);
  });
}

/** Tells of a new connection, and returns a function that judges whether an error is an idle connection's end. */
function watchConnection(outgoing: ClientRequest, events: ExchangeEvents): (error: Error) => boolean {
  let socket: Socket | undefined;
  /** Above 0 on a connection that has answered before. (`reusedSocket` does not see requests that waited in the agent.) */
  let bytesBefore = 0;
  let sentAt = 0;
  outgoing.on("socket", (assigned: Socket) => {
    socket = assigned;
    bytesBefore = assigned.bytesRead;
    sentAt = performance.now();
    if (assigned.connecting) assigned.once("connect", () => events.connected());
  });
  return (error) => {
    const code = "code" in error ? error.code : undefined;
    return (
      bytesBefore > 0 &&
      socket?.bytesRead === bytesBefore &&
      (code === "ECONNRESET" || code === "EPIPE") &&
      performance.now() - sentAt <= IDLE_CLOSE_WINDOW_MS
    );
  };
}
