import { type EvidenceRecord, type EvidenceSummary, summaryOf } from "../model/evidence/record";
import { butNotUp } from "../model/protocol/transaction";
import { formatMilliseconds } from "../model/types/duration";

/** `2026-11-21 16:05:12 UTC` */
export function formatTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** `16:05:12 UTC` */
export function formatClock(at: number): string {
  return `${new Date(at).toISOString().slice(11, 19)} UTC`;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** Time since the begin of a change: `+0.2 s`, `−15 s`, `+1:41.3`, `+2:00:05`. */
export function formatOffset(ms: number): string {
  const sign = ms < 0 ? "\u2212" : "+";
  const tenths = Math.round(Math.abs(ms) / 100) * 100;
  if (tenths < MINUTE_MS) return `${sign}${tenths / 1000} s`;
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  const [minutes, seconds] = [(tenths % HOUR_MS) / MINUTE_MS, (tenths % MINUTE_MS) / 1000];
  if (tenths >= HOUR_MS) return `${sign}${Math.floor(tenths / HOUR_MS)}:${two(minutes)}:${two(seconds)}`;
  const rest = tenths % 1000 === 0 ? "" : `.${(tenths % 1000) / 100}`;
  return `${sign}${Math.floor(minutes)}:${two(seconds)}${rest}`;
}

/** `0.52 %` */
export function formatRatio(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`;
}

export function formatLatency(ms: number | null): string {
  if (ms === null) return "\u2013";
  return ms >= 10_000 ? `${Number((ms / 1000).toPrecision(3))} s` : `${Number(ms.toPrecision(3))} ms`;
}

/** The change of a transaction in words, however it ended: `v1 → v2`, `new (v1)`, `removal`, `change`. */
export function changeInWords({ summary }: Pick<EvidenceSummary, "summary">): string {
  if (summary === undefined) return "no change was reached";
  const { from, to } = summary;
  if (from === to) return from === null ? "nothing" : "change";
  if (from === null) return to === "there" ? "new" : `new (${to})`;
  return to === null ? "removal" : `${from} \u2192 ${to}`;
}

/** The outcome in a sentence. */
export function verdictInWords({
  verdict,
  ending,
  target,
  notUp,
  summary,
}: Pick<EvidenceSummary, "verdict" | "ending" | "target" | "notUp" | "summary">): string {
  if (verdict === "running") return `${target} is being changed`;
  if (verdict === "committed") return `${target} has changed for good`;
  const how = {
    commit: "",
    abort: "the deployer aborted it",
    lease: "the deployer stopped renewing its lease",
    crash: "the agent ended in the middle of it",
    stop: "the agent was told to stop",
  }[ending ?? "abort"];
  return summary === undefined
    ? `${target} was not changed yet: ${how}`
    : `${target} is as it was before: ${how}${butNotUp(notUp)}`;
}

/** A transaction in lines for a terminal. */
export function evidenceText(record: EvidenceRecord, folder: string | undefined): string {
  const { program, owner, begunAt, endedAt, verdict, reason, gates, changes } = record;
  const git = program?.git;
  const rows: [string, string | undefined][] = [
    ["verdict", `${verdict}: ${verdictInWords(record)}`],
    ["reason", reason],
    ["change", changeInWords(summaryOf(record, folder))],
    ["who", `${owner.who} (process ${owner.pid})`],
    ["when", `${formatTime(begunAt)}${endedAt === undefined ? "" : `, took ${formatMilliseconds(endedAt - begunAt)}`}`],
    [
      "stack",
      program?.stack === undefined
        ? undefined
        : [`${program.project ?? ""}/${program.stack}`, program.name].filter(Boolean).join(", "),
    ],
    [
      "revision",
      git &&
        `${git.revision}${git.branch === undefined ? "" : ` (${git.branch})`}${git.dirty ? ", with uncommitted changes" : ""}`,
    ],
    ["gates", gates.length === 0 ? undefined : gates.map(gateLine).join("\n")],
    [
      "differences",
      changes.length === 0
        ? undefined
        : changes.map(({ path, from, to }) => `${path}: ${from ?? "-"} \u2192 ${to ?? "-"}`).join("\n"),
    ],
    [
      "parts",
      program?.parts?.map((part) => `${part.id.slice(0, 8)}  ${part.target} of the agent at ${part.socket}`).join("\n"),
    ],
    ["folder", folder ?? "none: it could not be written, and is in the agent's memory only"],
  ];
  const width = Math.max(...rows.map(([title]) => title.length));
  return rows
    .flatMap(([title, text]) =>
      text === undefined ? [] : [`${title.padEnd(width)}  ${text.replaceAll("\n", `\n${" ".repeat(width + 2)}`)}\n`],
    )
    .join("");
}

function gateLine({ stage, gate, outcome, reason, measurements }: EvidenceRecord["gates"][number]): string {
  const last = measurements.at(-1)?.text;
  return `${outcome}  stage ${stage}, ${gate}: ${reason ?? last ?? "no probe"}`;
}
