import { type Dispatcher, Pool } from "undici";
import type { ParitySide, SentRequest } from "../compare/target";
import { type Exchange, ExchangeError } from "./run";

export interface HttpOptions {
  /** Connections kept open to each side. */
  connections: number;
  /** Largest body that is read, in bytes. */
  maxBody: number;
}

/** Failures of a connection that the server had closed while it was idle, as the request was on its way. */
const CLOSED = new Set(["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"]);

/** Sends requests over HTTP, on connections that are kept alive. Redirects are not followed. */
export class HttpExchange {
  private readonly pools: Record<ParitySide, Pool>;
  private readonly prefixes: Record<ParitySide, string>;

  constructor(
    bases: Record<ParitySide, URL>,
    private readonly options: HttpOptions,
  ) {
    this.pools = { upstream: this.pool(bases.upstream), candidate: this.pool(bases.candidate) };
    this.prefixes = { upstream: prefixOf(bases.upstream), candidate: prefixOf(bases.candidate) };
  }

  readonly exchange: Exchange = async (side, target, signal) => {
    const path = this.prefixes[side] + target.path;
    try {
      return await this.send(side, { ...target, path }, signal);
    } catch (error) {
      // RFC 9110, section 9.2.2: what only reads may be sent again where the connection closed before any answer.
      const again = target.method === "GET" && error instanceof ClosedError && !signal.aborted;
      if (!again) throw error;
      return this.send(side, { ...target, path }, signal);
    }
  };

  /** Closes all connections, whatever is under way on them. */
  async close(): Promise<void> {
    await Promise.all([this.pools.upstream.destroy(), this.pools.candidate.destroy()]);
  }

  private pool(base: URL): Pool {
    // Deadlines are the caller's, by its signal.
    return new Pool(base.origin, { connections: this.options.connections, headersTimeout: 0, bodyTimeout: 0 });
  }

  private send(
    side: ParitySide,
    { method, path, headers, body }: SentRequest,
    signal: AbortSignal,
  ): ReturnType<Exchange> {
    return new Promise((resolve, reject) => {
      const reader = new Reader(this.options.maxBody, signal, resolve, reject);
      const request = { method: method as Dispatcher.HttpMethod, path, headers, body: body ?? null };
      this.pools[side].dispatch(request, reader);
    });
  }
}

/** The connection closed before any part of an answer. */
class ClosedError extends ExchangeError {}

/** Collects one answer. undici's dispatch interface, since streams cost more than all else here. */
class Reader implements Dispatcher.DispatchHandlers {
  private status = 0;
  private readonly chunks: Buffer[] = [];
  private length = 0;
  private abort = (_: Error): void => undefined;
  private readonly onAbort = () => this.fail(new ExchangeError("timeout", "given up"));

  constructor(
    private readonly maxBody: number,
    private readonly signal: AbortSignal,
    private readonly resolve: (answer: { status: number; body: Uint8Array }) => void,
    private readonly reject: (error: Error) => void,
  ) {
    signal.addEventListener("abort", this.onAbort, { once: true });
  }

  onConnect(abort: (error?: Error) => void): void {
    this.abort = abort;
    if (this.signal.aborted) this.onAbort();
  }

  onHeaders(status: number, headers: Buffer[]): boolean {
    this.status = status;
    for (let index = 0; index + 1 < headers.length; index += 2) {
      const name = headers[index];
      if (name?.length !== "content-encoding".length || name.toString("latin1").toLowerCase() !== "content-encoding")
        continue;
      const encoding = String(headers[index + 1]);
      if (encoding !== "identity")
        this.fail(new ExchangeError("not-json", `the answer is encoded as ${encoding}, which was not asked for`));
    }
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.length += chunk.length;
    if (this.length > this.maxBody) {
      this.fail(
        new ExchangeError(
          "too-large",
          `the answer is larger than ${this.maxBody} bytes: raise that limit (--max-body, or the maxBody of a gate)`,
        ),
      );
      return false;
    }
    this.chunks.push(chunk);
    return true;
  }

  onComplete(): void {
    this.signal.removeEventListener("abort", this.onAbort);
    const [first] = this.chunks;
    const body = this.chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.chunks);
    this.resolve({ status: this.status, body });
  }

  onError(error: NodeJS.ErrnoException): void {
    this.signal.removeEventListener("abort", this.onAbort);
    if (error instanceof ExchangeError) this.reject(error);
    else if (this.status === 0 && CLOSED.has(error.code ?? ""))
      this.reject(new ClosedError("unreachable", error.message));
    else this.reject(new ExchangeError("unreachable", messageOf(error)));
  }

  private fail(error: ExchangeError): void {
    this.reject(error);
    this.abort(error);
  }
}

/** The error itself has no message if every address of a name refused. */
function messageOf(error: NodeJS.ErrnoException): string {
  if (error.message !== "") return error.message;
  if (error instanceof AggregateError) return error.errors.map((each: Error) => each.message).join("; ");
  return error.code ?? error.name;
}

function prefixOf(base: URL): string {
  return base.pathname.replace(/\/+$/, "");
}
