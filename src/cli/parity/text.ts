import { jsonText } from "../../model/parity/json";
import { formatMilliseconds } from "../../model/types/duration";
import type { ParityResult } from "../../parity/compare/result";
import type { Summary, Timing } from "../../parity/compare/tally";

/** A summary for people. */
export function summaryText(summary: Summary, problems: readonly ParityResult[], report: string): string {
  const { requests, rows, timing } = summary;
  const more = requests.total - requests.equal - problems.length;
  const lines = [
    ...problems.map(problemText),
    ...(more > 0 ? [`... and ${count(more)} more in the report`] : []),
    "",
    `requests   ${count(requests.total)}: ${count(requests.equal)} equal, ${count(requests["missing-in-candidate"])} missing-in-candidate, ${count(requests["extra-in-candidate"])} extra-in-candidate, ${count(requests.different)} different, ${count(requests.error)} error`,
    `rows       ${count(rows.upstream)} upstream, ${count(rows.candidate)} candidate, ${count(rows.equal)} equal`,
    ...Object.entries(summary.errors).map(([kind, number]) => `error      ${kind}: ${count(number)}`),
    `upstream   ${timingText(timing.upstream)}`,
    `candidate  ${timingText(timing.candidate)}`,
    `report     ${report}`,
    summary.verdict,
  ];
  return `${lines.join("\n").trimStart()}\n`;
}

function problemText(result: ParityResult): string {
  const name = result.request === undefined ? "" : ` ${nameText(result.request)}`;
  const head = `line ${result.line}${name}: ${result.outcome}`;
  if (result.outcome === "equal") return head;
  if (result.outcome === "error") {
    const why = result.errors.map(({ side, kind, message }) => `${side ?? "request"}: ${kind}: ${message}`);
    return [head, ...why].join("\n  ");
  }
  const { missing, extra, different, note } = result.diff;
  const rows = [
    ...(note === undefined ? [] : [note]),
    ...missing.slice(0, 1).map((row) => `- ${jsonText(row)}`),
    ...extra.slice(0, 1).map((row) => `+ ${jsonText(row)}`),
    ...different
      .slice(0, 1)
      .flatMap(({ fields }) =>
        fields
          .slice(0, 3)
          .map(
            ({ field, upstream, candidate }) =>
              `~ ${field}: ${shown(upstream)} upstream, ${shown(candidate)} candidate`,
          ),
      ),
  ];
  return [`${head} (${result.rows.missing} missing, ${result.rows.extra} extra)`, ...rows].join("\n  ");
}

function nameText(request: NonNullable<ParityResult["request"]>): string {
  if ("path" in request) return `${request.method} ${request.path}`;
  return `${request.query} of ${request.game} ${jsonText(request.params)}`;
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : jsonText(value);
}

function timingText({ count: number, p50, p95, p99, max }: Timing): string {
  if (p50 === undefined || p95 === undefined || p99 === undefined || max === undefined) return "no answer";
  return `p50 ${time(p50)}  p95 ${time(p95)}  p99 ${time(p99)}  max ${time(max)}  (${count(number)} answers)`;
}

function time(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : formatMilliseconds(ms);
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}
