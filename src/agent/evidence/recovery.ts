import { type EvidenceRecord, newRecord } from "../../model/evidence/record";
import { readLog, reduce } from "../../model/evidence/reduce";
import type { Owner } from "../../model/protocol/transaction";
import type { EvidenceFolders } from "./folder";

/** A transaction that an agent's journal left open. */
export interface Left {
  id: string;
  target: string;
  owner: Owner;
  at: string;
  /** Processes that the undo at the agent's start has started, and those that are not up. */
  notUp?: string | undefined;
}

export interface Known {
  agent: EvidenceRecord["agent"];
  /** Whether a transaction's change is part of the committed state: the one truth about how it ended. */
  isCommitted: (id: string) => boolean;
  now: number;
}

/** Records of all transactions whose evidence an earlier agent did not complete, each with its end. */
export async function leftBehind(
  folders: EvidenceFolders,
  left: readonly Left[],
  known: Known,
): Promise<{ record: EvidenceRecord; bad: number }[]> {
  const found: { record: EvidenceRecord; bad: number }[] = [];
  const seen = new Set<string>();
  for (const name of await folders.names()) {
    const log = await folders.log(name);
    const read = log === undefined ? undefined : readLog(log);
    const complete = log === undefined && (await folders.isPublished(name));
    const notUp = left.find(({ id }) => id === read?.record.id)?.notUp;
    if (read !== undefined) found.push({ ...read, record: withEnd(read.record, known, notUp) });
    if (read !== undefined || complete) seen.add(name.slice(-36));
    // It died before it had begun its log, or the log is none: the journal knows what was left open.
    else await folders.remove(name);
  }
  for (const opened of left)
    if (!seen.has(opened.id)) found.push({ record: withEnd(fromJournal(opened, known), known, opened.notUp), bad: 0 });
  return found;
}

/** Record of a transaction from the journal alone: that is flushed to the disk, and the evidence's log is not. */
function fromJournal(opened: Left, { agent }: Known): EvidenceRecord {
  const record = newRecord(opened, { agent, begunAt: Date.parse(opened.at) });
  const text = "the agent ended before it had written down more of this transaction";
  reduce(record, { kind: "mark", mark: { at: record.begunAt, kind: "remark", text } });
  record.unmeasured = text;
  return record;
}

function withEnd(record: EvidenceRecord, { isCommitted, now }: Known, notUp: string | undefined): EvidenceRecord {
  if (record.verdict !== "running") return record;
  if (isCommitted(record.id)) {
    const text = "the agent ended right after the commit, and was started again";
    reduce(record, { kind: "mark", mark: { at: now, kind: "remark", text } });
    reduce(record, { kind: "ended", at: now, verdict: "committed" });
    return record;
  }
  const begun = record.reason;
  const reason =
    begun === undefined
      ? "the agent ended in the middle of the transaction, and undid it when it was started again"
      : `${begun}; the agent ended before its undo was done, and finished it when it was started again`;
  reduce(record, { kind: "ended", at: now, verdict: "undone", ending: record.ending ?? "crash", reason, notUp });
  return record;
}
