import { credentials, Metadata } from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";
import { safeText } from "../../model/types/safe-text";
import type { Log } from "./resource";

/** At most one status per resource is sent in this time; the last one is always sent. */
const PROGRESS_INTERVAL_MS = 250;
/** A message that the engine does not take within this time is given up, as the operation matters more. */
const SEND_DEADLINE_MS = 2_000;

type Send = (request: LogRequest) => Promise<void>;

/** The engine's own log, which the CLI shows; without an engine, messages go to standard error. */
export class EngineLog {
  #client: EngineClient | undefined;

  /** @param address host:port of the engine */
  connect(address: string): void {
    this.#client?.close();
    this.#client = new EngineClient(address, credentials.createInsecure());
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /** A log for one operation on one resource; `flush` waits until the engine has everything. */
  forResource(urn: string, redact: (text: string) => string): Log & { flush(): Promise<void> } {
    return new ResourceLog(urn, redact, (request) => this.#send(request));
  }

  #send(request: LogRequest): Promise<void> {
    const client = this.#client;
    if (client === undefined) {
      const worthwhile = request.getSeverity() !== LogSeverity.DEBUG && !request.getEphemeral();
      if (worthwhile) process.stderr.write(`${request.getUrn()}: ${request.getMessage()}\n`);
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      client.log(request, new Metadata(), { deadline: Date.now() + SEND_DEADLINE_MS }, (error) => {
        if (error)
          process.stderr.write(`the engine did not take a message (${error.message}): ${request.getMessage()}\n`);
        resolve();
      });
    });
  }
}

class ResourceLog implements Log {
  /** Messages go one after the other, since the engine shows them as they come. */
  #queue: Promise<void> = Promise.resolve();
  #waiting: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastProgress = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly urn: string,
    private readonly redact: (text: string) => string,
    private readonly send: Send,
  ) {}

  debug = (message: string): void => this.#push(LogSeverity.DEBUG, message, false);
  info = (message: string): void => this.#push(LogSeverity.INFO, message, false);
  warn = (message: string): void => this.#push(LogSeverity.WARNING, message, false);
  error = (message: string): void => this.#push(LogSeverity.ERROR, message, false);

  progress = (message: string): void => {
    this.#waiting = message;
    const wait = this.#lastProgress + PROGRESS_INTERVAL_MS - performance.now();
    if (wait <= 0) this.#sendProgress();
    else this.#timer ??= setTimeout(() => this.#sendProgress(), wait);
  };

  /** An ended operation needs no status any more: one that still waits is dropped. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#waiting = undefined;
    return this.#queue;
  }

  #sendProgress(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting === undefined) return;
    this.#lastProgress = performance.now();
    this.#push(LogSeverity.INFO, this.#waiting, true);
    this.#waiting = undefined;
  }

  #push(severity: LogSeverity, message: string, ephemeral: boolean): void {
    const request = new LogRequest();
    request.setSeverity(severity);
    request.setMessage(safeText(this.redact(message)));
    request.setUrn(this.urn);
    request.setEphemeral(ephemeral);
    this.#queue = this.#queue.then(() => this.send(request));
  }
}
