import { z } from "zod";
import { type Owner, owner } from "../protocol/transaction";
import { plannedStage, program } from "./note";

/** Of the format of `evidence.json`. Fields may be added without a new one. */
const EVIDENCE_VERSION = 1;

/** Milliseconds since the epoch. */
const at = z.int().min(0);

/** Counts and latencies of one side over some time. */
const figures = z.object({
  requests: z.number(),
  /** Of these: answered with 5xx, or cut off by the server. */
  errors: z.number(),
  /** Times to the head of the answer, in milliseconds; null without a request. */
  p50: z.number().nullable(),
  p95: z.number().nullable(),
  p99: z.number().nullable(),
  /** Copies of requests that never came to the shadow, where it is the shadow's side. Copies that did are its requests. */
  dropped: z.number().optional(),
});
export type Figures = z.output<typeof figures>;

const point = figures.extend({
  /** Start of the time that it is about, and its length in milliseconds. */
  at,
  ms: z.number(),
  /** Whether the meter ran; where it did not, there is no data, which is not "no requests". */
  covered: z.boolean(),
});
export type Point = z.output<typeof point>;

/** The counted requests: those of either side of a change, all of them, or their copies for the shadow. */
const role = z.enum(["candidate", "stable", "all", "shadow"]);

const measuredSide = z.object({
  role,
  /** For people: `v2`, `green`. */
  label: z.string(),
  /** Metered edges of this agent that it is on. */
  edges: z.array(z.string()),
  /** Selects requests of these edges, as in the meter's queries. */
  route: z.string().optional(),
  backend: z.string().optional(),
  server: z.string().optional(),
  release: z.string().optional(),
});
export type MeasuredSide = z.output<typeof measuredSide>;

const mark = z.object({
  at,
  kind: z.enum(["begin", "phase", "stage", "pass", "breach", "undo", "end", "remark"]),
  text: z.string(),
  /** Name of the stage that it is about. */
  stage: z.string().optional(),
});
export type Mark = z.output<typeof mark>;

const measurement = z.object({
  at,
  verdict: z.enum(["pass", "fail", "insufficient", "unavailable"]),
  text: z.string(),
  values: z.record(z.string(), z.number()),
});

const gateEvidence = z.object({
  stage: z.string(),
  gate: z.string(),
  kind: z.string(),
  limits: z.array(z.string()),
  bounds: z.array(z.object({ metric: z.string(), limit: z.number(), shadow: z.boolean().optional() })),
  outcome: z.enum(["watching", "pass", "breach", "ended"]),
  reason: z.string().optional(),
  /** All probes by verdict, also those that are not kept one by one. */
  probes: z.object({ pass: z.int(), fail: z.int(), insufficient: z.int(), unavailable: z.int() }),
  /** Probes, oldest first; of very many, every second one that passed is left out, again and again. */
  measurements: z.array(measurement),
});
export type GateEvidence = z.output<typeof gateEvidence>;

const stretch = z.object({
  title: z.string(),
  from: at,
  to: at,
  figures: z.array(figures.extend({ role })),
});
export type Stretch = z.output<typeof stretch>;

/** State observed at one time: values by path, such as `edges.main.config`. */
const evidenceSnapshot = z.object({
  at,
  values: z.record(z.string(), z.string()),
  /** Parts that could not be observed or were left out, and why. */
  notes: z.array(z.string()).default([]),
});
export type EvidenceSnapshot = z.output<typeof evidenceSnapshot>;

const change = z.object({
  path: z.string(),
  /** Null if it did not exist before, or does not afterwards. */
  from: z.string().nullable(),
  to: z.string().nullable(),
});
export type Change = z.output<typeof change>;

/** How a transaction ended: by its holder, since that was silent, or with the agent (killed, or told to stop). */
const ending = z.enum(["commit", "abort", "lease", "crash", "stop"]);
export type Ending = z.output<typeof ending>;

/** Everything that is known of one transaction on one agent: the content of `evidence.json`. */
export const evidenceRecord = z.object({
  version: z.literal(EVIDENCE_VERSION),
  /** The transaction's. */
  id: z.string(),
  /** The target of the transaction: `pool/web`, `route/api`. */
  target: z.string(),
  owner,
  agent: z.object({ version: z.string(), host: z.string() }),
  begunAt: at,
  endedAt: at.optional(),
  /** `running` until it has ended; `committed` or `undone`: there is no third outcome. */
  verdict: z.enum(["running", "committed", "undone"]),
  ending: ending.optional(),
  /** Why it was undone. */
  reason: z.string().optional(),
  /** Processes that its undo started, and those that were not up when that was done. */
  notUp: z.string().optional(),
  program: program.optional(),
  /** The change in two words each, such as release `v1` to `v2`; null for what is made anew or removed. */
  summary: z.object({ from: z.string().nullable(), to: z.string().nullable() }).optional(),
  /** Every difference between the desired states before and after. Values of environment variables are never in it. */
  changes: z.array(change),
  marks: z.array(mark),
  /** The planned stages, in order. */
  plan: z.array(plannedStage).optional(),
  /** The candidate's share of the requests in 1/10,000, from a time on. */
  splits: z.array(z.object({ at, parts: z.int().min(0).max(10_000) })),
  gates: z.array(gateEvidence),
  sides: z.array(measuredSide),
  /** Why there are no charts. */
  unmeasured: z.string().optional(),
  stretches: z.array(stretch),
  series: z.array(z.object({ role, points: z.array(point) })),
  before: evidenceSnapshot.optional(),
  /** As its undo began, where it was undone: what it puts back can't be seen afterwards. */
  during: evidenceSnapshot.optional(),
  after: evidenceSnapshot.optional(),
  /** Marks, notes and probes that were left out, since there were too many. */
  dropped: z.int(),
});
export type EvidenceRecord = z.output<typeof evidenceRecord>;

/** Most transactions of one list. */
export const MAX_LISTED = 500;
export const evidenceQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(MAX_LISTED).default(MAX_LISTED),
});

/** One transaction in a list, newest first. */
export const evidenceSummary = evidenceRecord
  .pick({
    id: true,
    target: true,
    begunAt: true,
    endedAt: true,
    verdict: true,
    ending: true,
    reason: true,
    notUp: true,
    summary: true,
  })
  .extend({
    who: z.string(),
    stack: z.string().optional(),
    revision: z.string().optional(),
    group: z.string().optional(),
    /** Common to all changes of one `pulumi up`. */
    update: z.string().optional(),
    /** Folder on the agent's host with `evidence.json` and `index.html`; left out while nothing is written. */
    folder: z.string().optional(),
  });
export type EvidenceSummary = z.output<typeof evidenceSummary>;

export function summaryOf(record: EvidenceRecord, folder: string | undefined): EvidenceSummary {
  const {
    id,
    target,
    begunAt,
    endedAt,
    verdict,
    ending: how,
    reason,
    notUp,
    summary,
    owner: { who },
    program: known,
  } = record;
  return {
    ...{ id, target, begunAt, endedAt, verdict, ending: how, reason, notUp, summary, who, folder },
    stack: known?.stack,
    revision: known?.git?.revision,
    group: known?.group,
    update: known?.update,
  };
}

/** A transaction that has just begun. */
export function newRecord(
  { id, target, owner: { who, why, pid } }: { id: string; target: string; owner: Owner },
  { agent, begunAt }: Pick<EvidenceRecord, "agent" | "begunAt">,
): EvidenceRecord {
  return {
    ...{ version: EVIDENCE_VERSION, id, target, owner: { who, why, pid }, agent, begunAt, verdict: "running" },
    ...{ changes: [], marks: [], splits: [], gates: [], sides: [], stretches: [], series: [], dropped: 0 },
  };
}
