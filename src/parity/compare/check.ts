import { Buffer } from "node:buffer";
import { Canonical } from "../../model/parity/canonical";
import { type Json, JsonError } from "../../model/parity/json";
import { Redactor } from "../../model/parity/redact";
import { type Answer, dataOf, type ErrorKind, type ParityError, readAnswer } from "./answer";
import { compareData, type Difference, differenceOf } from "./compare";
import { diffRows, type RowDiff } from "./diff";

export interface Rows {
  upstream: number;
  candidate: number;
  equal: number;
  missing: number;
  extra: number;
}

/** Result of comparing two answers. */
export type Judgement =
  | { outcome: "equal"; rows: Rows }
  | { outcome: Difference; rows: Rows; diff: RowDiff }
  | { outcome: "error"; errors: ParityError[] };

/** One side's answer, or why there is none. */
export type Reply = Answer | { kind: ErrorKind; message: string };

/** Compares answers by one set of rules. Pure, except that it remembers the form of rows to be fast. */
export class Judge {
  private readonly canonical: Canonical;

  /**
   * @param precision decimals to which floats are rounded
   * @param pointer parts of the JSON pointer of what is compared
   */
  constructor(
    precision: number,
    private readonly pointer: readonly string[],
  ) {
    this.canonical = new Canonical(precision);
  }

  judge(upstream: Reply, candidate: Reply, redactor = new Redactor()): Judgement {
    // The same bytes hold the same rows: read once.
    const same = "body" in upstream && "body" in candidate && sameAnswer(upstream, candidate);
    const ours = this.dataOf(upstream);
    const theirs = same ? ours : this.dataOf(candidate);
    const errors: ParityError[] = [];
    if ("kind" in ours) errors.push({ side: "upstream", ...ours });
    if ("kind" in theirs) errors.push({ side: "candidate", ...theirs });
    if ("kind" in ours || "kind" in theirs)
      return { outcome: "error", errors: errors.map((each) => clean(each, redactor)) };
    return this.compare(ours.data, theirs.data, redactor);
  }

  private compare(ours: Json, theirs: Json, redactor: Redactor): Judgement {
    try {
      const comparison = compareData(ours, theirs, this.canonical);
      const { upstream, candidate, equal, missing, extra } = comparison;
      const rows = { upstream, candidate, equal, missing: missing.length, extra: extra.length };
      const outcome = differenceOf(comparison);
      if (outcome === undefined) return { outcome: "equal", rows };
      return { outcome, rows, diff: diffRows(comparison, this.canonical, redactor) };
    } catch (error) {
      // Too deep, or beyond a double: which of the two it is only shows while comparing.
      if (error instanceof JsonError)
        return { outcome: "error", errors: [{ kind: "not-json", message: `an answer ${error.message}` }] };
      throw error;
    }
  }

  private dataOf(reply: Reply): { data: Json } | { kind: ErrorKind; message: string } {
    if ("kind" in reply) return reply;
    const read = readAnswer(reply);
    return "kind" in read ? read : dataOf(read.document, this.pointer);
  }
}

function sameAnswer(a: Answer, b: Answer): boolean {
  return a.status === b.status && a.body.length === b.body.length && Buffer.compare(a.body, b.body) === 0;
}

function clean(error: ParityError, redactor: Redactor): ParityError {
  return { ...error, message: redactor.text(error.message) };
}
