import type { Canonical } from "../../model/parity/canonical";
import type { Json } from "../../model/parity/json";
import { isSecretName, REDACTED, type Redactor } from "../../model/parity/redact";
import { clip, clipText } from "./clip";
import type { Comparison } from "./compare";

/** Rows of each kind that a diff shows. */
const MAX_ROWS_SHOWN = 5;
/** Fields of one pair of rows that a diff shows. */
const MAX_FIELDS_SHOWN = 10;
/** Rows of each side among which pairs are looked for: the work grows with its square. */
const MAX_PAIRED = 20;

/** One field in which two rows differ; a side without the field has no member for it. */
interface FieldDiff {
  field: string;
  upstream?: Json;
  candidate?: Json;
}

/** A small picture of how the rows of two answers differ: clipped, with secrets hidden. */
export interface RowDiff {
  /** Rows that only upstream has, and how many of them are not shown. */
  missing: Json[];
  missingNotShown: number;
  extra: Json[];
  extraNotShown: number;
  /** Rows of both sides that resemble each other, each as the fields in which they differ, beside some that tell which row it is. */
  different: { same: Json; fields: FieldDiff[]; fieldsNotShown: number }[];
  differentNotShown: number;
  /** Upstream's data is a list and the candidate's is not, or the other way round. */
  note?: string;
}

type Members = { [key: string]: Json };

/** Pairs the rows that resemble each other most, and shows a few of each kind. */
export function diffRows(comparison: Comparison, canonical: Canonical, redactor: Redactor): RowDiff {
  const { missing, extra, kindsDiffer } = comparison;
  const pairs = kindsDiffer ? [] : pairUp(missing, extra, canonical);
  const ours = new Set(pairs.map(({ upstream }) => upstream));
  const theirs = new Set(pairs.map(({ candidate }) => candidate));
  const show = (row: Json) => clip(redactor.value(row));
  const lonelyMissing = missing.filter((_, index) => !ours.has(index));
  const lonelyExtra = extra.filter((_, index) => !theirs.has(index));
  return {
    missing: lonelyMissing.slice(0, MAX_ROWS_SHOWN).map(show),
    missingNotShown: Math.max(0, lonelyMissing.length - MAX_ROWS_SHOWN),
    extra: lonelyExtra.slice(0, MAX_ROWS_SHOWN).map(show),
    extraNotShown: Math.max(0, lonelyExtra.length - MAX_ROWS_SHOWN),
    different: pairs
      .slice(0, MAX_ROWS_SHOWN)
      .map(({ upstream, candidate }) =>
        fieldsOf(missing[upstream] as Json, extra[candidate] as Json, canonical, redactor),
      ),
    differentNotShown: Math.max(0, pairs.length - MAX_ROWS_SHOWN),
    ...(kindsDiffer && { note: "one side's data is a list, the other's is not" }),
  };
}

interface Pair {
  upstream: number;
  candidate: number;
}

function pairUp(missing: readonly Json[], extra: readonly Json[], canonical: Canonical): Pair[] {
  const ours = missing.slice(0, MAX_PAIRED).map((row) => texts(row, canonical));
  const theirs = extra.slice(0, MAX_PAIRED).map((row) => texts(row, canonical));
  const scored = ours.flatMap((a, upstream) =>
    theirs.map((b, candidate) => ({ upstream, candidate, score: likeness(a, b) })),
  );
  scored.sort((a, b) => b.score - a.score || a.upstream - b.upstream || a.candidate - b.candidate);
  const pairs: Pair[] = [];
  const taken = { upstream: new Set<number>(), candidate: new Set<number>() };
  for (const { upstream, candidate, score } of scored) {
    if (score === 0 || taken.upstream.has(upstream) || taken.candidate.has(candidate)) continue;
    taken.upstream.add(upstream);
    taken.candidate.add(candidate);
    pairs.push({ upstream, candidate });
  }
  return pairs.sort((a, b) => a.upstream - b.upstream);
}

/** The members of a row by their canonical texts; a row without members is one nameless member. */
function texts(row: Json, canonical: Canonical): Map<string, string> {
  return new Map(Object.entries(membersOf(row)).map(([key, value]) => [key, canonical.text(value)]));
}

function membersOf(row: Json): Members {
  if (typeof row === "object" && row !== null) return row as Members;
  return { "": row };
}

/** Equal fields count; a field that both have with different values counts a little, so that rows of one form pair at all. */
function likeness(a: Map<string, string>, b: Map<string, string>): number {
  let score = 0;
  for (const [key, text] of a) if (b.has(key)) score += b.get(key) === text ? 1 : 0.01;
  return score / Math.max(a.size, b.size, 1);
}

function fieldsOf(ours: Json, theirs: Json, canonical: Canonical, redactor: Redactor): RowDiff["different"][number] {
  const a = membersOf(ours);
  const b = membersOf(theirs);
  const same: [string, Json][] = [];
  const fields: FieldDiff[] = [];
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const upstream = Object.hasOwn(a, key) ? a[key] : undefined;
    const candidate = Object.hasOwn(b, key) ? b[key] : undefined;
    if (upstream !== undefined && candidate !== undefined && canonical.text(upstream) === canonical.text(candidate)) {
      same.push([key, upstream]);
      continue;
    }
    const show = (value: Json) => (isSecretName(key) ? REDACTED : clip(redactor.value(value)));
    fields.push({
      field: redactor.text(clipText(key)),
      ...(upstream !== undefined && { upstream: show(upstream) }),
      ...(candidate !== undefined && { candidate: show(candidate) }),
    });
  }
  return {
    same: clip(redactor.value(Object.fromEntries(same.slice(0, MAX_FIELDS_SHOWN)))),
    fields: fields.slice(0, MAX_FIELDS_SHOWN),
    fieldsNotShown: Math.max(0, fields.length - MAX_FIELDS_SHOWN),
  };
}
