import { butNotUp } from "../protocol/transaction";
import { formatSplit } from "../route/split";
import { formatMilliseconds } from "../types/duration";
import type { Note } from "./note";
import {
  type Change,
  type Ending,
  type EvidenceRecord,
  type EvidenceSnapshot,
  evidenceRecord,
  type GateEvidence,
  type Mark,
  type MeasuredSide,
} from "./record";

/** Most marks, gates (of all stages) and probes per gate that a record keeps. */
const MAX_MARKS = 500;
const MAX_GATES = 300;
const MAX_MEASUREMENTS = 400;
/** Most probes of all gates together. */
const MAX_ALL_MEASUREMENTS = 5000;
const MAX_SPLITS = 500;

/** Everything that can happen to a record, in order. A record is what all of its entries make of an empty one. */
export type Entry =
  | { kind: "before" | "during"; look: EvidenceSnapshot }
  | { kind: "mark"; mark: Mark }
  /** The change itself, as far as the transaction has come. */
  | {
      kind: "change";
      at: number;
      changes: Change[];
      summary: EvidenceRecord["summary"];
      sides: MeasuredSide[];
      unmeasured?: string | undefined;
      split?: number | undefined;
    }
  | { kind: "note"; note: Note }
  | { kind: "undoing"; at: number; ending: Ending; reason: string }
  | {
      kind: "ended";
      at: number;
      verdict: "committed" | "undone";
      ending?: Ending;
      reason?: string;
      notUp?: string | undefined;
    };

/** Adds an entry to a record, in place: a transaction may have very many. Its size stays bounded. */
export function reduce(record: EvidenceRecord, entry: Entry): void {
  switch (entry.kind) {
    case "before":
      record.before = entry.look;
      return;
    case "during":
      record.during = entry.look;
      return;
    case "mark":
      addMark(record, entry.mark);
      return;
    case "change":
      record.changes = entry.changes;
      record.summary = entry.summary;
      record.sides = entry.sides;
      record.unmeasured = entry.unmeasured;
      if (entry.split !== undefined) addSplit(record, entry.at, entry.split);
      return;
    case "note":
      addNote(record, entry.note);
      return;
    case "undoing":
      record.ending = entry.ending;
      record.reason = entry.reason;
      addMark(record, { at: entry.at, kind: "undo", text: `undo begins: ${entry.reason}` });
      return;
    case "ended":
      end(record, entry);
      return;
  }
}

function end(record: EvidenceRecord, { at, verdict, ending, reason, notUp }: Extract<Entry, { kind: "ended" }>): void {
  record.endedAt = at;
  if (notUp !== undefined) record.notUp = notUp;
  record.verdict = verdict;
  record.ending = ending ?? record.ending ?? (verdict === "committed" ? "commit" : "abort");
  if (reason !== undefined) record.reason = reason;
  if (verdict === "committed") delete record.reason;
  const before = record.splits[0];
  if (verdict === "undone" && before !== undefined) addSplit(record, at, before.parts);
  for (const gate of record.gates) if (gate.outcome === "watching") gate.outcome = "ended";
  const text = verdict === "committed" ? "committed" : `everything is as it was before${butNotUp(notUp)}`;
  addMark(record, { at, kind: "end", text });
}

function addMark(record: EvidenceRecord, mark: Mark): void {
  // The end is always told.
  if (record.marks.length < MAX_MARKS || mark.kind === "end" || mark.kind === "undo") record.marks.push(mark);
  else record.dropped += 1;
}

function addSplit(record: EvidenceRecord, at: number, parts: number): void {
  const last = record.splits.at(-1);
  if (last?.parts === parts) return;
  if (record.splits.length < MAX_SPLITS) record.splits.push({ at, parts });
  else record.dropped += 1;
}

function addNote(record: EvidenceRecord, note: Note): void {
  switch (note.kind) {
    case "program":
      record.program = note.program;
      return;
    case "remark":
      addMark(record, { at: note.at, kind: "remark", text: note.text });
      return;
    case "plan":
      record.plan = note.stages;
      return;
    case "stage": {
      const share = note.split === undefined ? "" : `, ${formatSplit(note.split)} to the candidate`;
      const window = note.windowMs === undefined ? "" : `, watched for ${formatMilliseconds(note.windowMs)}`;
      addMark(record, { at: note.at, kind: "stage", stage: note.stage, text: `stage ${note.stage}${share}${window}` });
      return;
    }
    case "gates":
      for (const gate of note.gates) gateOf(record, note.stage, gate);
      return;
    case "probe":
      addProbe(record, note);
      return;
    case "outcome":
      addOutcome(record, note);
      return;
  }
}

function addOutcome(
  record: EvidenceRecord,
  { at, stage, gate: name, outcome, reason }: Extract<Note, { kind: "outcome" }>,
): void {
  const gate = gateOf(record, stage, { gate: name });
  if (gate === undefined) return;
  gate.outcome = outcome;
  if (reason !== undefined) gate.reason = reason;
  if (outcome === "ended") return;
  const text = `gate ${name} of stage ${stage}: ${outcome === "pass" ? "passed" : (reason ?? "breached")}`;
  addMark(record, { at, kind: outcome, stage, text });
}

function addProbe(
  record: EvidenceRecord,
  { stage, gate: name, at, verdict, text, values }: Extract<Note, { kind: "probe" }>,
): void {
  const gate = gateOf(record, stage, { gate: name });
  if (gate === undefined) {
    record.dropped += 1;
    return;
  }
  gate.probes[verdict] += 1;
  gate.measurements.push({ at, verdict, text, values });
  if (gate.measurements.length > MAX_MEASUREMENTS) record.dropped += thin(gate);
  const all = record.gates.reduce((sum, { measurements }) => sum + measurements.length, 0);
  if (all > MAX_ALL_MEASUREMENTS) record.dropped += thin(longest(record.gates) ?? gate);
}

function longest(gates: readonly GateEvidence[]): GateEvidence | undefined {
  return gates.reduce<GateEvidence | undefined>(
    (most, gate) => (gate.measurements.length > (most?.measurements.length ?? 0) ? gate : most),
    undefined,
  );
}

/** Leaves out every second probe that passed, then the oldest ones; the last ones stay. Returns how many. */
function thin(gate: GateEvidence): number {
  const all = gate.measurements;
  const half = all.filter(({ verdict }, index) => verdict !== "pass" || index % 2 === 0 || index === all.length - 1);
  gate.measurements = half.slice(-Math.ceil(all.length * 0.75));
  return all.length - gate.measurements.length;
}

function gateOf(
  record: EvidenceRecord,
  stage: string,
  { gate: name, kind = "", limits = [], bounds = [] }: { gate: string } & Partial<GateEvidence>,
): GateEvidence | undefined {
  // Notes come beside the transaction: the last ones of a gate may arrive after its end.
  const open = record.endedAt === undefined ? ["watching"] : ["watching", "ended"];
  const known = record.gates.findLast(
    (other) => other.stage === stage && other.gate === name && open.includes(other.outcome),
  );
  if (known !== undefined) return known;
  if (record.gates.length >= MAX_GATES) return undefined;
  const probes = { pass: 0, fail: 0, insufficient: 0, unavailable: 0 };
  const gate: GateEvidence = { stage, gate: name, kind, limits, bounds, outcome: "watching", probes, measurements: [] };
  record.gates.push(gate);
  return gate;
}

/** The log of a record: the record as it was at one time, and what happened since. */
export interface ReadLog {
  record: EvidenceRecord;
  /** Lines that are none, since a write was cut short. */
  bad: number;
}

/** Reads a log, one JSON text per line; undefined if not even its first line can be read. */
export function readLog(text: string): ReadLog | undefined {
  const [first = "", ...rest] = text.split("\n");
  const record = evidenceRecord.safeParse(parse(first)).data;
  if (record === undefined) return undefined;
  let bad = 0;
  for (const line of rest) {
    if (line === "") continue;
    const entry = parse(line);
    if (entry === undefined) bad += 1;
    else reduce(record, entry as Entry);
  }
  return { record, bad };
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
