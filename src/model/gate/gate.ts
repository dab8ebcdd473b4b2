import { z } from "zod";
import { parityFields } from "../parity/gate";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { hasControl } from "../types/names";
import { comparison, errorRatioTemplate, quantileTemplate } from "./promql";
import { SLI_METRICS } from "./sli";
import { threshold } from "./threshold";

/** Fewest samples that an SLI is judged by, where a gate does not say. */
const DEFAULT_MIN_REQUESTS = 200;
/** Meters keep this much. */
const LONGEST_SOAK = "24 hours";
/** A shorter window would end before the meter, which is up to 4.5 seconds behind, has reported anything of it. */
export const SHORTEST_METERED = "5 seconds";

const common = {
  /** Name in messages and evidence. @default its kind */
  name: z
    .string()
    .min(1)
    .max(60)
    .refine((text) => !hasControl(text), "holds a control character: remove it")
    .optional(),
  /** Time between two probes. @default "30 seconds" */
  interval: duration({ min: "100 milliseconds", max: "1 hour" }).default("30 seconds"),
  /** Time through which the gate is watched. @default its stage's; without a stage, one good probe is enough */
  window: duration({ max: "7 days" }).optional(),
  /** Time until a probe counts as unavailable. @default "10 seconds" */
  timeout: duration({ min: "100 milliseconds", max: "1 hour" }).default("10 seconds"),
  /** Failed probes in a row that end it. @default 1: the first red probe */
  failureLimit: z.int().min(1).max(1000).default(1),
  /** Probes in a row without an answer that end it. @default 3 */
  unavailableLimit: z.int().min(1).max(1000).default(3),
};

const url = z.url({
  protocol: /^https?$/,
  error: ({ input }) => `${quoteValue(input)} is not a URL of HTTP: write it with http:// or https://`,
});

const health = z.strictObject({ kind: z.literal("health"), ...common });

const relative = z.strictObject({
  /** Metrics that must not be worse than the stable side's over the same time. */
  metrics: z.array(z.enum(SLI_METRICS)).min(1),
  /** Probability that a candidate which is no worse passes the whole window. @default 0.99 */
  confidence: z.number().min(0.5).max(0.999_999).default(0.99),
  /** How many times the stable side's value is still not worse. @default 1 */
  tolerance: z.number().min(1).max(100).default(1),
});

const meterSli = z
  .strictObject({
    kind: z.literal("sli"),
    /**
     * Source of the judged answers: the candidate's (`meter`), or those of the route's shadow (`mirror`), which are
     * judged by the same metrics; a copy that the shadow did not answer counts as a 502, 503 or 504. @default "meter"
     */
    source: z.enum(["meter", "mirror"]).default("meter"),
    ...common,
    /** Time through which the gate is watched, at least 5 seconds. @default its stage's */
    window: duration({ min: SHORTEST_METERED, max: "7 days" }).optional(),
    /** Limits of the candidate's values, such as `p95 < 500 ms` and `5xx < 0.5 %`. */
    thresholds: z.array(threshold).default([]),
    /** Comparison with the stable side. @default none */
    notWorseThanStable: relative.optional(),
    /** Requests of the candidate below which there is no verdict, and a window that ends so is a breach. @default 200 */
    minRequests: z.int().min(1).default(DEFAULT_MIN_REQUESTS),
    /** Time before each probe that it looks at. @default from the start of the watch on */
    over: duration({ min: SHORTEST_METERED, max: LONGEST_SOAK }).optional(),
  })
  .refine(({ thresholds, notWorseThanStable }) => thresholds.length > 0 || notWorseThanStable !== undefined, {
    path: ["thresholds"],
    error: 'is empty: give one such as "p95 < 500 ms", or notWorseThanStable',
  });

const prometheusSli = z
  .strictObject({
    kind: z.literal("sli"),
    source: z.literal("prometheus"),
    ...common,
    /** Address of the server, such as `http://127.0.0.1:9090`. */
    url,
    /** PromQL that gives a number, or one per series: each must compare. */
    query: z.string().min(1).max(10_000).optional(),
    /** Instead of a query: a histogram's quantile. */
    quantile: quantileTemplate.optional(),
    /** Instead of a query: a share of errors. */
    errorRatio: errorRatioTemplate.optional(),
    /** The condition on the value: `"< 500 ms"`, `"< 0.5 %"`, `"> 0"`. */
    must: comparison,
  })
  .refine((gate) => [gate.query, gate.quantile, gate.errorRatio].filter((one) => one !== undefined).length === 1, {
    path: ["query"],
    error: "give exactly one of query, quantile and errorRatio",
  });

const http = z.strictObject({
  kind: z.literal("http"),
  ...common,
  url,
  /** Statuses that pass. @default 200 to 299 */
  statuses: z.array(z.int().min(100).max(599)).min(1).optional(),
  /** Text that the answer must hold. @default any answer */
  contains: z.string().min(1).optional(),
});

const command = z.strictObject({
  kind: z.literal("command"),
  ...common,
  /** Program and arguments, run without a shell where the update runs. Exit code 0 passes, any other fails. */
  command: z.array(z.string()).min(1),
  /** Folder that it runs in. @default the project's */
  cwd: z.string().optional(),
});

const soak = z.strictObject({
  kind: z.literal("soak"),
  /** Source of the judged answers, as in an `sli` gate. @default "meter" */
  source: z.enum(["meter", "mirror"]).default("meter"),
  ...common,
  /** Time for which the stage before must have been held, 5 seconds to 24 hours. */
  duration: duration({ min: SHORTEST_METERED, max: LONGEST_SOAK }),
  /** Conditions over that time, and over each hour of it that has enough requests. */
  thresholds: z.array(threshold).min(1),
  minRequests: z.int().min(1).default(DEFAULT_MIN_REQUESTS),
});

const parity = z.strictObject({
  kind: z.literal("parity"),
  ...common,
  ...parityFields,
  /** For the whole comparison. @default "10 minutes" */
  timeout: duration({ min: "100 milliseconds", max: "1 day" }).default("10 minutes"),
});

/** A condition that a promotion must meet. */
export const gate = z.discriminatedUnion("kind", [
  health,
  z.discriminatedUnion("source", [meterSli, prometheusSli]),
  http,
  command,
  soak,
  parity,
]);
export type Gate = z.output<typeof gate>;
export type GateInput = z.input<typeof gate>;
export type MeterSliGate = z.output<typeof meterSli>;
export type PrometheusSliGate = z.output<typeof prometheusSli>;
export type HttpGate = z.output<typeof http>;
export type CommandGate = z.output<typeof command>;
export type SoakGate = z.output<typeof soak>;
export type ParityGate = z.output<typeof parity>;

/** Whether a gate judges the answers of the route's shadow. */
export function judgesMirror(gate: Gate): boolean {
  return (gate.kind === "sli" || gate.kind === "soak") && gate.source === "mirror";
}

/** Whether a gate judges by the meter of the edges: the candidate's requests, or the shadow's. */
export function isMetered(gate: Gate): gate is MeterSliGate | SoakGate {
  return gate.kind === "soak" || (gate.kind === "sli" && gate.source !== "prometheus");
}

/** Whether a gate judges by a Prometheus server. */
export function asksPrometheus(gate: Gate): gate is PrometheusSliGate {
  return gate.kind === "sli" && gate.source === "prometheus";
}

export function nameOf({ name, kind }: Pick<Gate, "name" | "kind">): string {
  return name ?? kind;
}

/** Whether a gate is judged once, before any request goes to its stage, and not through the stage's window. */
export function isJudgedBefore(gate: Gate): gate is SoakGate | ParityGate {
  return gate.kind === "soak" || gate.kind === "parity";
}
