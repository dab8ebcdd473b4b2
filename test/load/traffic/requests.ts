import type { Kind, Recorder } from "../report";
import { type Answer, exchange, type Question, type Target } from "./exchange";
import { Lane } from "./lane";
import { keepRunning, pace } from "./pace";

/** Requests that may wait or run at once. A target that hangs must not fill our memory. */
const MAX_UNFINISHED = 10_000;

export interface PacedOptions {
  /** Requests per second. */
  rate: number;
  /** Keep-alive connections that the requests take turns on. */
  connections: number;
  /** Share of POSTs, 0 to 1. */
  postShare: number;
  timeoutMs: number;
}

/**
 * Sends GETs and POSTs in an open loop, and measures each from its intended time (see `pace`).
 *
 * Returns a function that stops, and resolves when the last request has ended.
 */
export function startPaced(target: Target, options: PacedOptions, recorder: Recorder): () => Promise<void> {
  const lanes = Array.from({ length: Math.max(1, options.connections) }, () => ({ lane: new Lane(), unfinished: 0 }));
  const running = new Set<Promise<void>>();
  let sent = 0;

  function nextLane(): (typeof lanes)[number] {
    const turn = lanes.map((_, index) => lanes[(sent + index) % lanes.length] as (typeof lanes)[number]);
    return turn.reduce((best, lane) => (lane.unfinished < best.unfinished ? lane : best));
  }

  async function send(isPost: boolean, intendedAt: number): Promise<void> {
    const kind: Kind = isPost ? "post" : "get";
    const body = isPost ? `message ${sent}` : undefined;
    const { timeoutMs } = options;
    const chosen = nextLane();
    chosen.unfinished++;
    try {
      if (running.size >= MAX_UNFINISHED) throw new Error(`not sent: ${MAX_UNFINISHED} requests are unfinished`);
      const question: Question =
        body === undefined
          ? { method: "GET", path: "/", timeoutMs }
          : { method: "POST", path: "/echo", body, timeoutMs };
      const answer = await exchange(target, question, chosen.lane, recorder);
      recorder.served(answer.version, answer.headAt, answer.status);
      expectGood(question, answer);
      if (body !== undefined && answer.body !== body) throw new Error(`POST /echo: the body came back changed`);
      recorder.latency(performance.now() - intendedAt);
      recorder.ended(kind);
    } catch (error) {
      recorder.ended(kind, asError(error));
    } finally {
      chosen.unfinished--;
    }
  }

  const stop = pace(options.rate, (intendedAt) => {
    const isPost = Math.floor((sent + 1) * options.postShare) > Math.floor(sent * options.postShare);
    const one = send(isPost, intendedAt);
    sent++;
    running.add(one);
    one.finally(() => running.delete(one));
  });
  return async () => {
    stop();
    await Promise.all(running);
    for (const { lane } of lanes) lane.close();
  };
}

export interface SlowOptions {
  /** How many run at once. */
  count: number;
  /** How long the target is asked to take. */
  seconds: number;
  /** On top of `seconds`. */
  timeoutMs: number;
}

/** Keeps slow requests running, each on its own keep-alive connection; every other one asks for a late head. */
export function startSlow(target: Target, options: SlowOptions, recorder: Recorder): () => Promise<void> {
  const lanes = Array.from({ length: options.count }, () => new Lane());
  let sent = 0;
  const stop = keepRunning(options.count, async (index) => {
    const question: Question = {
      method: "GET",
      path: `/slow?seconds=${options.seconds}&head=${sent++ % 2 === 0 ? "early" : "late"}`,
      timeoutMs: options.seconds * 1000 + options.timeoutMs,
    };
    try {
      const answer = await exchange(target, question, lanes[index] as Lane, recorder);
      expectGood(question, answer);
      if (!answer.body.includes('"seconds"')) throw new Error(`GET ${question.path}: the body is not complete`);
      recorder.ended("slow");
      return true;
    } catch (error) {
      recorder.ended("slow", asError(error));
      return false;
    }
  });
  return async () => {
    await stop();
    for (const lane of lanes) lane.close();
  };
}

function expectGood(question: Question, answer: Answer): void {
  if (answer.status !== 200) throw new Error(`${question.method} ${question.path}: answered ${answer.status}`);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
