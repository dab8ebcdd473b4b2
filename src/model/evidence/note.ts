import { z } from "zod";
import { SLI_METRICS } from "../gate/sli";

/** Longest text of a note, in characters; what is longer is cut by whoever sends it. */
export const MAX_NOTE_TEXT = 2000;
/** Most notes of one message to an agent. */
export const MAX_NOTES = 200;

const line = z.string().max(MAX_NOTE_TEXT);
const short = z.string().max(200);
/** Milliseconds since the epoch. */
const at = z.int().min(0);
const verdict = z.enum(["pass", "fail", "insufficient", "unavailable"]);

const git = z.object({
  /** Full id of the commit that the program's folder is at. */
  revision: short,
  branch: short.optional(),
  /** First line of its message, and who wrote it. */
  subject: short.optional(),
  author: short.optional(),
  /** Whether tracked files differ from that commit; left out where that is not known. */
  dirty: z.boolean().optional(),
});

/** One agent's part of a change. */
const part = z.object({ socket: short, target: short, id: short });
/** Most parts of a change that are named. */
export const MAX_PARTS = 100;

/** The program that makes a change, as only the deploying side knows it. */
export const program = z.object({
  urn: z.string().max(1000),
  project: short.optional(),
  stack: short.optional(),
  /** Name of the resource in the program, and its type. */
  name: short.optional(),
  type: short.optional(),
  git: git.optional(),
  /** The CI job that runs it: its page, and the user who triggered it. */
  ci: z.object({ url: short.optional(), actor: short.optional() }).optional(),
  /** Common to all changes of one `pulumi up`. */
  update: short.optional(),
  /** Common to the transactions of one change that is made on several agents. */
  group: short.optional(),
  /** The transactions of the group, each on its agent. */
  parts: z.array(part).max(MAX_PARTS).optional(),
});
export type Program = z.output<typeof program>;

/** A limit of a metric that charts show as a line: a share from 0 to 1, or milliseconds. */
const bound = z.object({
  metric: z.enum(SLI_METRICS),
  limit: z.number(),
  /** Whether it is about the shadow's answers. */
  shadow: z.boolean().optional(),
});

const stageGate = z.object({
  gate: short,
  kind: short,
  /** Conditions in words: `p95 < 500 ms`. */
  limits: z.array(line).max(50).default([]),
  bounds: z.array(bound).max(50).default([]),
});
export type StageGate = z.output<typeof stageGate>;

/** A stage that a change is to go through. */
export const plannedStage = z.object({
  stage: short,
  /** Candidate's share in 1/10,000. */
  split: z.int().min(0).max(10_000).optional(),
  windowMs: z.number().min(0).optional(),
});
export type PlannedStage = z.output<typeof plannedStage>;
/** Most stages of a plan. */
const MAX_PLANNED = 200;

const probeNote = z.object({
  kind: z.literal("probe"),
  at,
  stage: short,
  gate: short,
  verdict,
  text: line,
  values: z.record(z.string().max(100), z.number()).default({}),
});

/** Facts that the deploying side sends an agent during a transaction, for its evidence. */
const note = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("program"), at, program }),
  z.object({ kind: z.literal("plan"), stages: z.array(plannedStage).max(MAX_PLANNED) }),
  plannedStage.extend({ kind: z.literal("stage"), at }),
  z.object({ kind: z.literal("gates"), stage: short, gates: z.array(stageGate).max(100) }),
  probeNote,
  z.object({
    kind: z.literal("outcome"),
    at,
    stage: short,
    gate: short,
    outcome: z.enum(["pass", "breach", "ended"]),
    reason: line.optional(),
  }),
  /** Anything else that people should read in the timeline. */
  z.object({ kind: z.literal("remark"), at, text: line }),
]);
export type Note = z.output<typeof note>;
export type NoteInput = z.input<typeof note>;

/** A message of notes. */
export const notesRequest = z.object({ notes: z.array(note).max(MAX_NOTES) });
