import { parsePointer } from "../../model/parity/pointer";
import { Redactor, secretValues } from "../../model/parity/redact";
import { type ParityRequest, parseRequest } from "../../model/parity/request";
import { messageOf } from "../../model/types/errors";
import type { Answer, ErrorKind, ParityError } from "../compare/answer";
import { Judge, type Reply } from "../compare/check";
import { clipText } from "../compare/clip";
import type { Line } from "../compare/lines";
import { nameOf } from "../compare/name";
import type { ParityResult } from "../compare/result";
import { type Addressing, type ParitySide, type SentRequest, targetsOf } from "../compare/target";

/** Sends one request to one side and reads the answer to its end. Rejects with an {@link ExchangeError} where it has none. */
export type Exchange = (side: ParitySide, target: SentRequest, signal: AbortSignal) => Promise<Answer>;

/** Why there is no answer. */
export class ExchangeError extends Error {
  constructor(
    readonly kind: ErrorKind,
    message: string,
  ) {
    super(message);
    this.name = "ExchangeError";
  }
}

export interface RunOptions extends Addressing {
  exchange: Exchange;
  /** Decimals to which floats are rounded. */
  precision: number;
  /** JSON pointer of what is compared. */
  pointer: string;
  /** Requests under way at a time, each to both sides. */
  concurrency: number;
  /** From sending a request to the last byte of its answer, in milliseconds. */
  timeoutMs: number;
  /** Headers that the user gives for a side, by names in lower case. They go before a request's own. */
  headers: Record<ParitySide, Record<string, string>>;
  /** Ends the run: what is under way is given up and yields nothing. */
  signal?: AbortSignal;
  /** Milliseconds, monotonic. @default performance.now */
  clock?: () => number;
}

/** How far results run ahead of the oldest one that is not there yet: they are given in the order of their lines. */
const MAX_AHEAD = 1024;

/**
 * Sends every line's request to both sides at the same time, and compares the answers. Results come in the order of the
 * lines, in bounded memory however many there are; nothing is sent before it is asked for. A blank line yields nothing.
 */
export async function* compareLines(
  lines: AsyncIterable<Line> | Iterable<Line>,
  options: RunOptions,
): AsyncGenerator<ParityResult> {
  const run = new Run(options);
  const stop = () => run.stop();
  options.signal?.addEventListener("abort", stop, { once: true });
  const source = Symbol.asyncIterator in lines ? lines[Symbol.asyncIterator]() : lines[Symbol.iterator]();
  const slots: { result?: ParityResult; failure?: { error: unknown } }[] = [];
  let active = 0;
  let ended = false;
  let wake = (): void => undefined;
  try {
    if (options.signal?.aborted) return;
    for (;;) {
      while (!ended && active < options.concurrency && slots.length < MAX_AHEAD) {
        const next = await source.next();
        if (next.done || run.stopped) ended = true;
        else if (!isBlank(next.value)) {
          const slot: (typeof slots)[number] = {};
          slots.push(slot);
          active++;
          run
            .line(next.value)
            .then(
              (result) => {
                // An exchange that ends after the stop was given up tells nothing of the two systems.
                if (!run.stopped) slot.result = result;
              },
              (error: unknown) => {
                slot.failure = { error };
              },
            )
            .finally(() => {
              active--;
              wake();
            });
        }
      }
      if (run.stopped) {
        for (const { result } of slots) if (result !== undefined) yield result;
        return;
      }
      const head = slots[0];
      if (head === undefined) return;
      if (head.failure !== undefined) throw head.failure.error;
      if (head.result !== undefined) {
        slots.shift();
        yield head.result;
      } else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    options.signal?.removeEventListener("abort", stop);
    run.stop();
    await source.return?.();
  }
}

function isBlank(line: Line): boolean {
  return "text" in line && /^\s*$/.test(line.text);
}

class Run {
  private readonly judge: Judge;
  private readonly redactor: Redactor;
  private readonly clock: () => number;
  private readonly underWay = new Set<AbortController>();
  stopped = false;

  constructor(private readonly options: RunOptions) {
    this.judge = new Judge(options.precision, parsePointer(options.pointer));
    this.redactor = this.redactorWith([]);
    this.clock = options.clock ?? (() => performance.now());
  }

  /** Gives up everything that is under way. */
  stop(): void {
    this.stopped = true;
    for (const each of this.underWay) each.abort();
  }

  async line(line: Line): Promise<ParityResult> {
    const parsed = "problem" in line ? line : parseRequest(line.text);
    if ("problem" in parsed) return failed(line.line, { kind: "broken-line", message: parsed.problem });
    const { request } = parsed;
    const targets = targetsOf(request, this.options);
    if ("problem" in targets) {
      const kind = targets.unmapped ? "unmapped" : "broken-line";
      return { ...failed(line.line, { kind, message: targets.problem }), request: nameOf(request, this.redactor) };
    }
    const ms: ParityResult["ms"] = {};
    const [upstream, candidate] = await this.both(targets, ms);
    const redactor = this.redactorFor(request);
    const judgement = this.judge.judge(upstream, candidate, redactor);
    if (judgement.outcome === "equal") return { line: line.line, ms, ...judgement };
    return { line: line.line, request: nameOf(request, redactor), ms, ...judgement };
  }

  private async both(targets: Record<ParitySide, SentRequest>, ms: ParityResult["ms"]): Promise<[Reply, Reply]> {
    const deadline = new AbortController();
    this.underWay.add(deadline);
    const timer = setTimeout(() => deadline.abort(), this.options.timeoutMs);
    try {
      return await Promise.all([
        this.ask("upstream", targets.upstream, deadline.signal, ms),
        this.ask("candidate", targets.candidate, deadline.signal, ms),
      ]);
    } finally {
      clearTimeout(timer);
      this.underWay.delete(deadline);
    }
  }

  private async ask(
    side: ParitySide,
    target: SentRequest,
    signal: AbortSignal,
    ms: ParityResult["ms"],
  ): Promise<Reply> {
    const headers = { accept: "application/json", ...target.headers, ...this.options.headers[side] };
    const started = this.clock();
    try {
      const answer = await orAborted(this.options.exchange(side, { ...target, headers }, signal), signal);
      ms[side] = this.clock() - started;
      return answer;
    } catch (error) {
      if (signal.aborted) return { kind: "timeout", message: `no complete answer within ${this.options.timeoutMs} ms` };
      if (error instanceof ExchangeError) return { kind: error.kind, message: clipText(error.message) };
      return { kind: "unreachable", message: clipText(messageOf(error)) };
    }
  }

  private redactorFor(request: ParityRequest): Redactor {
    const secrets = request.kind === "general" ? secretValues(request.headers) : [];
    return secrets.length === 0 ? this.redactor : this.redactorWith(secrets);
  }

  private redactorWith(secrets: readonly string[]): Redactor {
    const given = Object.values(this.options.headers);
    // A header that is given for the run may hold a secret under any name.
    return new Redactor([...secrets, ...given.flatMap(secretValues)], given.flatMap(Object.values<string>));
  }
}

function failed(line: number, error: ParityError): ParityResult {
  return { line, ms: {}, outcome: "error", errors: [error] };
}

/** Result of a promise, or a rejection as soon as a signal is aborted: an exchange may not listen to it. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error("aborted"));
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
