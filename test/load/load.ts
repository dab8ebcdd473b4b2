import { type LoadReport, Recorder } from "./report";
import type { Range } from "./traffic/range";
import { startPaced, startSlow } from "./traffic/requests";
import { startStreams } from "./traffic/streams";
import { startWebSockets } from "./traffic/websockets";

/** Load that runs at the same time; 0 leaves a kind out. */
export interface LoadMix {
  /** GETs and POSTs per second, together. @default 100 */
  rate: number;
  /** Keep-alive connections that they take turns on. @default 8 */
  connections: number;
  /** Share of POSTs among them, 0 to 1. @default 0.25 */
  postShare: number;
  /** Slow requests at once. @default 2 */
  slow: number;
  /** WebSockets at once. @default 4 */
  websockets: number;
  /** Event streams at once. @default 2 */
  streams: number;
}

export interface LoadOptions {
  host: string;
  port: number;
  mix?: Partial<LoadMix>;
  /** Duration of a slow request. @default 3 */
  slowSeconds?: number;
  /** A WebSocket's life, at random. @default [2, 6] */
  websocketSeconds?: Range;
  /** An event stream's length, at random. @default [2, 5] */
  streamSeconds?: Range;
  /** Patience with an answer, on top of the time that it takes by request. @default 10,000 ms */
  timeoutMs?: number;
}

export interface Load {
  /** The numbers so far. */
  snapshot(): LoadReport;
  /** Starts nothing new, lets everything in flight finish, and reports. Every piece has a timeout, so it ends. */
  stop(): Promise<LoadReport>;
}

const DEFAULT_MIX: LoadMix = { rate: 100, connections: 8, postShare: 0.25, slow: 2, websockets: 4, streams: 2 };
const DEFAULT_SLOW_SECONDS = 3;
const DEFAULT_WEBSOCKET_SECONDS: Range = [2, 6];
const DEFAULT_STREAM_SECONDS: Range = [2, 5];
/** A busy machine is slow, and what is lost ends in an error. */
const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * Puts a steady load on a target that speaks as `stacks/demo/app/server.mjs` does, and checks every answer.
 *
 * Paced requests form an open loop, and their latency counts from the time for which each was intended: a stall of the
 * target shows in full (no coordinated omission). Failures are recorded and never retried (one exception, see
 * `exchange`). A target that refuses connections makes failures at the pace of the load; other kinds try four times a second.
 */
export function startLoad(options: LoadOptions): Load {
  const target = { host: options.host, port: options.port };
  const mix = { ...DEFAULT_MIX, ...options.mix };
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const recorder = new Recorder();
  const { rate, connections, postShare } = mix;
  const slow = { count: mix.slow, seconds: options.slowSeconds ?? DEFAULT_SLOW_SECONDS, timeoutMs };
  const websockets = {
    count: mix.websockets,
    seconds: options.websocketSeconds ?? DEFAULT_WEBSOCKET_SECONDS,
    timeoutMs,
  };
  const streams = { count: mix.streams, seconds: options.streamSeconds ?? DEFAULT_STREAM_SECONDS, timeoutMs };
  const stops = [
    startPaced(target, { rate, connections, postShare, timeoutMs }, recorder),
    startSlow(target, slow, recorder),
    startWebSockets(target, websockets, recorder),
    startStreams(target, streams, recorder),
  ];
  let running = true;
  let stopped: Promise<LoadReport> | undefined;
  async function stopAll(): Promise<LoadReport> {
    await Promise.all(stops.map((stop) => stop()));
    running = false;
    return recorder.snapshot(running);
  }
  return {
    snapshot: () => recorder.snapshot(running),
    stop() {
      stopped ??= stopAll();
      return stopped;
    },
  };
}
