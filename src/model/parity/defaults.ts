import { DEFAULT_PATH } from "./path-template";

/** Defaults of the verb and of the gate. */
export const DEFAULTS = {
  /** Decimals to which floats are rounded. */
  precision: 6,
  /** JSON pointer of the compared part. */
  pointer: "/data",
  upstreamPath: DEFAULT_PATH,
  /** Requests under way at a time, each to both sides. */
  concurrency: 16,
  /** For one answer. */
  timeoutSeconds: 10,
  /** Largest answer that is read. */
  maxBodyMib: 16,
  /** Mismatches that a report shows with their rows. */
  details: 1000,
} as const;

export const MAX_CONCURRENCY = 1024;
