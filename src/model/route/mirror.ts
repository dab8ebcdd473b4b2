import { z } from "zod";
import { duration } from "../types/duration";
import { name } from "../types/names";
import { type Size, size } from "../types/size";
import { percent } from "./split";

/** Largest body that fits HAProxy's buffers as they are by default, beside 7 KiB of headers. */
export const DEFAULT_MAX_BODY: Size = "8 KiB";

/** Header by which a shadow knows a copy; its value is the route's name. */
export const MIRROR_HEADER = "x-sluice-mirror";

const method = z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/**
 * Copies of a route's requests for a shadow backend, whose answers are read and thrown away. No request waits for its copy or
 * fails by it: what can't be copied, sent or answered in time is dropped and counted.
 */
export const mirror = z.strictObject({
  /** Backend that gets the copies, on each of the route's edges. Change: hitless reload. */
  to: name,
  /** Share of the requests that are copied. Change: live. */
  share: percent,
  /** Methods whose requests are copied. @default all. Change: hitless reload. */
  methods: z.array(method).min(1).max(method.options.length).optional(),
  /**
   * Largest body that is copied, up to 1 MiB; larger ones, and bodies that come without a length, are dropped. Above 8 KiB,
   * HAProxy's buffers on the route's edges grow with it. @default "8 KiB". Change: hitless reload.
   */
  maxBody: size({ min: "0 B", max: "1 MiB" }).default(DEFAULT_MAX_BODY),
  /** Time that the shadow has for an answer. @default "5 seconds". Change: live. */
  timeout: duration({ min: "10 milliseconds", max: "5 minutes" }).default("5 seconds"),
  /** Copies that are with the shadow at once, 1 to 256. @default 32. Change: live. */
  concurrency: z.int().min(1).max(256).default(32),
});
export type Mirror = z.output<typeof mirror>;

/** A sample of a route's GET requests, kept in the agent's memory without their secrets, for a parity gate to replay. */
export const sample = z.strictObject({
  /** Requests that are kept, 1 to 10,000. @default 1000. Change: live. */
  requests: z.int().min(1).max(10_000).default(1000),
  /** Share of the GET requests that are looked at. @default "1%". Change: live. */
  share: percent.default("1%"),
});

/** Counters of a route's copies since the agent's mirror was started. */
export interface MirrorFigures {
  /** ISO 8601. */
  since: string;
  /** Copies that came from HAProxy. */
  received: number;
  /** Copies that the shadow answered. */
  answered: number;
  /** Copies that are with the shadow or wait for it now. */
  pending: number;
  /** Answers by status. */
  statuses: Record<string, number>;
  /** Time until the head of the shadow's answer, in milliseconds; nothing without answers. */
  latency: { p50: number; p95: number; p99: number } | null;
  /** Copies that were dropped, by reason (see {@link DROP_REASONS}). */
  dropped: Record<string, number>;
}

/** Why a copy is dropped. */
const DROP_REASONS = {
  queue: "HAProxy's queue for the agent was full: the agent was too slow, stopped or away",
  away: "the agent went away, or HAProxy could not reach it",
  body: "the body is larger than maxBody",
  unsized: "the body came without a length, as streams do",
  incomplete: "the body was not complete, or did not fit HAProxy's buffer beside the headers",
  headers: "the headers did not fit HAProxy's buffer",
  "no-server": "the shadow backend has no server that takes traffic",
  down: "the shadow's servers refused connections a moment ago",
  overload: "more copies waited for the shadow than may",
  connect: "the connection to the shadow was refused",
  timeout: "the shadow did not answer in time",
  broken: "the shadow broke the connection off, or its answer is not HTTP",
  refused: "the request is one that the agent can't send again",
} as const;
export type DropReason = keyof typeof DROP_REASONS;
