import { type Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import type { Lane } from "./lane";

/** Header with the number of a request, by which it is found in an edge's log. */
const NUMBER_HEADER = "x-load-request";

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
class ExchangeError extends Error {
  constructor(
    message: string,
    /** The server closed a reused connection that had been idle, before any byte of an answer. */
    readonly idleClose: boolean,
  ) {
    super(message);
  }
}

export interface ExchangeEvents {
  connected(): void;
  /** Gives a request its number; one that is sent again gets another. */
  sent(): number;
  reopened(): void;
}

/**
 * Sends a request on a lane's connection. Nothing is retried, with one exception that RFC 9112 section 9.3.1 and
 * RFC 9110 section 9.2.2 leave to every client: a GET whose reused connection had been idle until it was sent, and ended
 * without a byte of an answer, is sent once more, on a fresh connection, and `reopened` is told. A POST must not be sent
 * twice, so it does not go on a connection that the target may be closing.
 *
 * Rejects where there is no complete answer in time.
 */
export function exchange(target: Target, question: Question, lane: Lane, events: ExchangeEvents): Promise<Answer> {
  const giveUpAt = performance.now() + question.timeoutMs;
  return lane.inTurn(async (wasIdle) => {
    if (performance.now() >= giveUpAt)
      throw new Error(`${question.method} ${question.path}: not sent within ${question.timeoutMs} ms`);
    const send = (agent: Agent | false) => sendOnce(target, question, { agent, giveUpAt, wasIdle }, events);
    try {
      return await send(wasIdle && question.method === "POST" ? false : lane.agent);
    } catch (error) {
      if (!(error instanceof ExchangeError && error.idleClose && question.method === "GET")) throw error;
      events.reopened();
      return send(false);
    }
  });
}

interface Way {
  agent: Agent | false;
  giveUpAt: number;
  /** Whether the lane's connection had nothing to do before. */
  wasIdle: boolean;
}

function sendOnce(
  target: Target,
  question: Question,
  { agent, giveUpAt, wasIdle }: Way,
  events: ExchangeEvents,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method, path, body } = question;
    const headers = {
      [NUMBER_HEADER]: events.sent(),
      ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }),
    };
    const outgoing = request({ ...target, method, path, headers, agent });
    const endedUnanswered = watchConnection(outgoing, events);
    const wasIdleClose = (error: Error) => wasIdle && endedUnanswered(error);
    const timer = setTimeout(
      () => outgoing.destroy(new Error(`no complete answer within ${question.timeoutMs} ms`)),
      giveUpAt - performance.now(),
    );
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

/** Tells of a new connection, and returns a function that judges whether an error is the end of a reused one without an answer. */
function watchConnection(outgoing: ClientRequest, events: ExchangeEvents): (error: Error) => boolean {
  let socket: Socket | undefined;
  /** Above 0 on a connection that has answered before. */
  let bytesBefore = 0;
  outgoing.on("socket", (assigned: Socket) => {
    socket = assigned;
    bytesBefore = assigned.bytesRead;
    if (assigned.connecting) assigned.once("connect", () => events.connected());
  });
  return (error) => {
    const code = "code" in error ? error.code : undefined;
    return bytesBefore > 0 && socket?.bytesRead === bytesBefore && (code === "ECONNRESET" || code === "EPIPE");
  };
}
