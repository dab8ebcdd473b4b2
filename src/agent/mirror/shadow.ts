import { type Dispatcher, Pool } from "undici";
import type { DropReason } from "../../model/route/mirror";
import { copyHeaders } from "./copy-headers";
import { Figures } from "./figures";
import type { Copy } from "./messages";
import { ShadowCounts } from "./shadow-counts";

/** Copies, and bytes of their bodies, that wait for a shadow at most. */
const WAITING_COPIES = 512;
const WAITING_BYTES = 8 * 1024 * 1024;
/** From this share of either on, no more copies are wanted: what is on its way still finds room. */
const ENOUGH = 0.5;
/** Bytes of an answer that are read; the connection of a longer one is closed. */
const MAX_ANSWER = 1024 * 1024;
const CONNECT_MS = 1000;
/** Below the 5 seconds after which Node.js closes an idle connection from its side, as HAProxy has it. */
const IDLE_MS = 1000;
/** Time that a server which refuses connections is left alone: doubling, capped. */
const DOWN_FIRST_MS = 100;
const DOWN_CAP_MS = 3000;
const TOO_LATE = "the shadow did not answer in time";
const CONNECT_ERRORS = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** How the copies of a route are sent. */
export interface ShadowSettings {
  timeoutMs: number;
  concurrency: number;
  /** `address:port` of the shadow's servers that take traffic, by edge. */
  servers: Record<string, string[]>;
}

interface Server {
  pool: Pool;
  failures: number;
  downUntil: number;
}

interface Flight {
  deadline: number;
  abort: ((reason: Error) => void) | undefined;
  timedOut: boolean;
}

/** Sends a route's copies to its shadow and throws the answers away. Takes bounded memory, whatever the shadow does. */
export class Shadow {
  readonly figures = new Figures();
  readonly counts = new ShadowCounts();
  private readonly servers = new Map<string, Server>();
  private readonly flights = new Set<Flight>();
  private waiting: { copy: Copy; deadline: number }[] = [];
  private waitingBytes = 0;
  private turn = 0;

  constructor(private settings: ShadowSettings) {}

  get pending(): number {
    return this.flights.size + this.waiting.length;
  }

  configure(settings: ShadowSettings): void {
    const { concurrency } = this.settings;
    this.settings = settings;
    const wanted = new Set(Object.values(settings.servers).flat());
    for (const [address, { pool }] of this.servers)
      if (!wanted.has(address) || settings.concurrency !== concurrency) {
        this.servers.delete(address);
        // Copies in flight still get their answers.
        void pool.close();
      }
  }

  send(copy: Copy): void {
    this.figures.received++;
    if (this.flights.size < this.settings.concurrency) this.dispatch(copy);
    else if (this.waiting.length >= WAITING_COPIES || this.waitingBytes + copy.body.length > WAITING_BYTES)
      this.lose(copy.edge, "overload");
    else {
      this.waitingBytes += copy.body.length;
      this.waiting.push({ copy, deadline: performance.now() + this.settings.timeoutMs });
    }
  }

  /** Why a copy of an edge's would be dropped if it came now; undefined if it is welcome. */
  refusal(edge: string): DropReason | undefined {
    if (this.waiting.length >= WAITING_COPIES * ENOUGH || this.waitingBytes >= WAITING_BYTES * ENOUGH)
      return "overload";
    const addresses = this.settings.servers[edge] ?? [];
    if (addresses.length === 0) return "no-server";
    const now = performance.now();
    return addresses.every((address) => (this.servers.get(address)?.downUntil ?? 0) > now) ? "down" : undefined;
  }

  /** Gives up what takes too long. To be called several times a second. */
  sweep(): void {
    const now = performance.now();
    for (const flight of this.flights)
      if (now > flight.deadline) {
        flight.timedOut = true;
        flight.abort?.(new Error(TOO_LATE));
      }
    const late = this.waiting.filter(({ deadline }) => now > deadline);
    if (late.length === 0) return;
    this.waiting = this.waiting.filter(({ deadline }) => now <= deadline);
    this.waitingBytes = this.waiting.reduce((sum, { copy }) => sum + copy.body.length, 0);
    for (const { copy } of late) this.lose(copy.edge, "overload");
  }

  /** Counts copies that did not come from HAProxy. */
  drop(reason: string, copies: number): void {
    // HAProxy does not tell of which frontends' requests they were: one edge stands for all.
    this.lose(Object.keys(this.settings.servers)[0] ?? "", reason, copies);
  }

  private lose(edge: string, reason: string, copies = 1, ms = 0): void {
    this.figures.drop(reason, copies);
    this.counts.drop(edge, reason, { copies, ms });
  }

  close(): void {
    for (const { pool } of this.servers.values()) void pool.destroy();
  }

  private dispatch(copy: Copy): void {
    const addresses = this.settings.servers[copy.edge] ?? [];
    const server = this.next(addresses);
    if (server === undefined) {
      this.lose(copy.edge, addresses.length === 0 ? "no-server" : "down");
      return;
    }
    const began = performance.now();
    const flight: Flight = { deadline: began + this.settings.timeoutMs, abort: undefined, timedOut: false };
    let status = 0;
    let read = 0;
    const handler: Dispatcher.DispatchHandlers = {
      onConnect: (abort) => {
        flight.abort = abort;
        if (flight.timedOut) abort(new Error(TOO_LATE));
      },
      onHeaders: (code) => {
        if (code < 200) return true;
        server.failures = 0;
        status = code;
        const ms = performance.now() - began;
        this.figures.answer(code, ms);
        this.counts.answer(copy.edge, code, ms);
        return true;
      },
      onData: (chunk) => {
        read += chunk.length;
        if (read > MAX_ANSWER) flight.abort?.(new Error("the answer is longer than what is read of it"));
        return true;
      },
      onComplete: () => this.land(flight),
      onError: (error) => {
        if (status === 0) this.lose(copy.edge, this.reason(error, flight, server), 1, performance.now() - began);
        this.land(flight);
      },
    };
    this.flights.add(flight);
    try {
      const method = copy.method as Dispatcher.HttpMethod;
      const body = copy.body.length > 0 ? copy.body : null;
      server.pool.dispatch({ method, path: copy.path, headers: copyHeaders(copy), body }, handler);
    } catch (error) {
      handler.onError?.(error as Error);
    }
  }

  private land(flight: Flight): void {
    if (!this.flights.delete(flight)) return;
    while (this.flights.size < this.settings.concurrency) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.waitingBytes -= next.copy.body.length;
      this.dispatch(next.copy);
    }
  }

  private reason(error: Error, { timedOut }: Flight, server: Server): string {
    if (timedOut) return "timeout";
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "UND_ERR_INVALID_ARG" || code === "UND_ERR_NOT_SUPPORTED") return "refused";
    if (!CONNECT_ERRORS.has(code)) return "broken";
    server.failures++;
    server.downUntil = performance.now() + Math.min(DOWN_FIRST_MS * 2 ** Math.min(server.failures, 10), DOWN_CAP_MS);
    return "connect";
  }

  /** The next one in turn that is not left alone. */
  private next(addresses: string[]): Server | undefined {
    const now = performance.now();
    for (const _ of addresses) {
      const server = this.server(addresses[this.turn++ % addresses.length] ?? "");
      if (server.downUntil <= now) return server;
    }
    return undefined;
  }

  private server(address: string): Server {
    const known = this.servers.get(address);
    if (known !== undefined) return known;
    const pool = new Pool(`http://${address}`, {
      connections: this.settings.concurrency,
      pipelining: 1,
      keepAliveTimeout: IDLE_MS,
      connect: { timeout: CONNECT_MS },
      // One deadline for the whole exchange is kept by sweeping: finer, and without a timer for each.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const server = { pool, failures: 0, downUntil: 0 };
    this.servers.set(address, server);
    return server;
  }
}
