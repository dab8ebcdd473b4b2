import { Agent as HttpAgent, type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { PROTOCOL } from "../../model/protocol/transaction";

/** Time to wait for a connection and for the head of an answer that does not depend on work, in milliseconds. */
const QUICK_MS = 15_000;

/** Time for the answer of an agent that has cut a body off, in milliseconds. */
const LAST_WORDS_MS = 500;

/** An agent's refusal or failure, with its code for programs. */
export class AgentError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = "AgentError";
  }
}

/** No agent answers at a socket, or one of another protocol, which can only be replaced. */
export class UnreachableError extends AgentError {
  constructor(message: string, code: "unreachable" | "protocol" = "unreachable") {
    super(code, message);
    this.name = "UnreachableError";
  }
}

export function unreachable(socket: string, why: string): UnreachableError {
  return new UnreachableError(
    `the agent at ${socket} can't be reached (${why}): check that it runs on this host, and that you may use its socket`,
  );
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds until an answer must have begun; 0 for none. */
  timeoutMs?: number;
}

/** HTTP+JSON over an agent's Unix socket. */
export class Connection {
  private readonly http = new HttpAgent({ keepAlive: true, maxSockets: 64 });

  constructor(readonly socket: string) {}

  async call<T>(method: "GET" | "POST", path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    const response = await this.open(method, path, body, options);
    const json = await readJson(response, this.socket);
    if ((response.statusCode ?? 500) >= 400) throw toError(json);
    return json as T;
  }

  /** Lines of an answer that is a stream of JSON lines. */
  async *lines(
    method: "GET" | "POST",
    path: string,
    body?: unknown,
    options: CallOptions = {},
  ): AsyncGenerator<Record<string, unknown>> {
    const response = await this.open(method, path, body, { timeoutMs: 0, ...options });
    if ((response.statusCode ?? 500) >= 400) throw toError(await readJson(response, this.socket));
    // A caller that stops reading does not care how the connection ends, but an error without a listener is thrown.
    response.on("error", () => undefined);
    try {
      for await (const line of createInterface({ input: response })) yield JSON.parse(line) as Record<string, unknown>;
    } catch (error) {
      if (options.signal?.aborted) throw asError(options.signal.reason);
      throw unreachable(this.socket, `its answer was cut short: ${(error as Error).message}`);
    } finally {
      response.destroy();
    }
    if (options.signal?.aborted) throw asError(options.signal.reason);
    if (!response.complete) throw unreachable(this.socket, "the connection was cut in the middle of an answer");
  }

  /** Sends a body as it comes. */
  async send(path: string, body: AsyncIterable<Buffer>, { signal }: CallOptions = {}): Promise<void> {
    const headers = { "sluice-protocol": String(PROTOCOL), "content-type": "application/octet-stream" };
    const call = request({
      socketPath: this.socket,
      method: "PUT",
      path,
      headers,
      agent: this.http,
      ...(signal === undefined ? {} : { signal }),
    });
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      call.on("response", resolve);
      call.on("error", reject);
    });
    // An agent that refuses it answers before the end, and then closes the connection: its answer tells more than that.
    const sent = pipeline(body, call).then(
      () => undefined,
      async (error: unknown) => {
        await sleep(LAST_WORDS_MS);
        throw asError(error);
      },
    );
    try {
      const response = await Promise.race([answer, sent.then(() => answer)]);
      const json = await readJson(response, this.socket);
      if ((response.statusCode ?? 500) >= 400) throw toError(json);
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof AgentError ? error : unreachable(this.socket, (error as Error).message);
    } finally {
      sent.catch(() => undefined);
      call.destroy();
    }
  }

  close(): void {
    this.http.destroy();
  }

  private open(
    method: string,
    path: string,
    body: unknown,
    { signal, timeoutMs = QUICK_MS }: CallOptions,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = {
        "sluice-protocol": String(PROTOCOL),
        ...(text === undefined
          ? {}
          : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
      };
      const call = request({
        socketPath: this.socket,
        method,
        path,
        headers,
        agent: this.http,
        ...(signal === undefined ? {} : { signal }),
      });
      const timer =
        timeoutMs === 0
          ? undefined
          : setTimeout(() => call.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      call.on("response", (response) => {
        clearTimeout(timer);
        resolve(response);
      });
      call.on("error", (error) => {
        clearTimeout(timer);
        if (signal?.aborted) reject(asError(signal.reason));
        else reject(unreachable(this.socket, error.message));
      });
      call.end(text);
    });
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

async function readJson(response: IncomingMessage, socket: string): Promise<unknown> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw unreachable(socket, `its answer was cut short: ${(error as Error).message}`);
  }
}

export function toError(json: unknown): AgentError {
  const {
    code = "failed",
    message = "the agent failed without saying why",
    ...data
  } = (json as { error?: { code?: string; message?: string } }).error ?? {};
  return code === "protocol" ? new UnreachableError(message, code) : new AgentError(code, message, data);
}
