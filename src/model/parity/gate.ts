import { z } from "zod";
import { percent } from "../route/split";
import { duration } from "../types/duration";
import { size } from "../types/size";
import { baseUrlProblem } from "./base-url";
import { MAX_PRECISION } from "./canonical";
import { DEFAULTS, MAX_CONCURRENCY } from "./defaults";
import { mapping } from "./mapping";
import { templateProblem } from "./path-template";
import { parsePointer } from "./pointer";

/** A check that says what is wrong, if anything. */
const text = (problemOf: (value: string) => string | undefined) =>
  z.string().superRefine((value, context) => {
    const message = problemOf(value);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });

const template = text(templateProblem);
const baseUrl = text(baseUrlProblem);
const pointer = text((value) => {
  try {
    parsePointer(value);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
});
/** Never the headers themselves: a gate is kept in the state, in plain text. */
const headerSource = z
  .string()
  .regex(
    /^[^:\s]+$|^env:[A-Za-z_][A-Za-z0-9_]*$/,
    "is given by the name of a file, or by env:NAME, and never as it is",
  );

/** Inputs of a parity gate, which compares as `sluice parity` does. */
export const parityFields = {
  /**
   * File of requests, one JSON object a line, read where the update runs. @default the sample that the route's edges keep
   * (see `sample` of a route)
   */
  requests: z.string().min(1).optional(),
  /** The system that is right. */
  upstreamUrl: baseUrl,
  /** The system that is to answer the same. */
  candidateUrl: baseUrl,
  /** Upstream's queries and the candidate's endpoints: an object, or a JSON file. @default none */
  mapping: z.union([z.string().min(1), mapping]).default({}),
  /** The `{env}` of paths. @default none */
  env: z.string().min(1).optional(),
  /** Path of upstream's queries. @default "/api/v1/query_objects/{env}/{game}/{query}" */
  upstreamPath: template.default(DEFAULTS.upstreamPath),
  /** Path of mapped endpoints that are bare names, as `{endpoint}`. @default upstreamPath */
  candidatePath: template.optional(),
  /** JSON pointer of the part of each answer that is compared. @default "/data" */
  pointer: pointer.default(DEFAULTS.pointer),
  /** Decimals to which floats are rounded. @default 6 */
  precision: z.int().min(0).max(MAX_PRECISION).default(DEFAULTS.precision),
  /** Requests under way at a time, each to both sides. @default 16 */
  concurrency: z.int().min(1).max(MAX_CONCURRENCY).default(DEFAULTS.concurrency),
  /** For one answer, to its last byte. @default "10 seconds" */
  requestTimeout: duration({ min: "1 millisecond", max: "1 hour" }).default("10 seconds"),
  /** Largest answer that is read. @default "16 MiB" */
  maxBody: size({ min: "1 KiB", max: "1 GiB" }).default("16 MiB"),
  /** First requests that are taken. @default all */
  limit: z.int().min(1).optional(),
  /** Share of the lines that is taken, the same ones every time. @default all */
  share: percent.optional(),
  /** Headers for both sides: a file, or `env:NAME` for an environment variable. @default none */
  headers: headerSource.optional(),
  upstreamHeaders: headerSource.optional(),
  candidateHeaders: headerSource.optional(),
  /** Requests that must have been compared; fewer are no verdict, and a breach. @default 1 */
  minCompared: z.int().min(1).default(1),
  /** Mismatches and errors that are still a pass. @default 0 */
  maxProblems: z.int().min(0).default(0),
  /** File for the report with each mismatch and its rows, written where the update runs. @default none */
  report: z.string().min(1).optional(),
};
