import type { CheckResult, FileResult, Finding } from "../../migrations";

/** `sluice migrations check --json` */
export function checkDocument({ files }: CheckResult): unknown {
  return {
    files: files.map(({ path, runner, verdict, findings }) => ({
      path,
      runner,
      verdict,
      findings: findings.map(({ rule, level, question, line, column, statement, message, locks, fix }) => ({
        rule,
        level,
        question,
        line,
        column,
        statement,
        message,
        locks,
        fix,
      })),
    })),
  };
}

/** Findings in one file whose rewrite is shown; the same rule again is named only. */
const indented = (text: string, by: string): string =>
  text
    .split("\n")
    .map((line) => (line === "" ? line : by + line))
    .join("\n");

/** Text for people: a line that editors can jump to for each finding, then the reason, the locks and the rewrite. */
export function checkText({ files, verdict }: CheckResult): string {
  const explained = new Set<string>();
  const blocks = files.filter(({ findings }) => findings.length > 0).map((file) => fileText(file, explained));
  const errors = count(files, "error");
  const warnings = count(files, "warn");
  const skipped = files.filter((file) => file.skipped !== undefined).length;
  const judged = files.length - skipped;
  const summary = [
    `${verdict}: ${judged} ${judged === 1 ? "file" : "files"}, ${errors} ${errors === 1 ? "error" : "errors"}, ${warnings} ${warnings === 1 ? "warning" : "warnings"}`,
    ...(skipped > 0
      ? [`${skipped} ${skipped === 1 ? "file" : "files"} left out, for undo or for another database`]
      : []),
    runnersText(files),
    ...(errors > 0 ? ["sluice migrations explain RULE describes a rule"] : []),
  ];
  return `${[...blocks, summary.join("\n")].join("\n\n")}\n`;
}

function runnersText(files: readonly FileResult[]): string {
  const names = [...new Set(files.filter(({ skipped }) => skipped === undefined).map(({ runner }) => runner))];
  return `read as files of ${names.join(" and ")}${names.includes("plain") ? " (no runner is known by their names)" : ""}; --runner tells another one`;
}

function count(files: readonly FileResult[], level: Finding["level"]): number {
  return files.reduce((sum, { findings }) => sum + findings.filter((finding) => finding.level === level).length, 0);
}

function fileText({ findings }: FileResult, explained: Set<string>): string {
  return findings.map((finding) => findingText(finding, explained)).join("\n");
}

function findingText(finding: Finding, explained: Set<string>): string {
  const { file, line, column, level, rule, question, message, locks, fix, statement } = finding;
  const head = `${file}:${line}:${column}: ${level} ${rule} (${question})\n  ${message}`;
  // A warning needs no rewrite, and the same one again needs no second reading.
  const known = `${rule} ${fix}`;
  if (level !== "error" || explained.has(known)) return head;
  explained.add(known);
  return [head, `  > ${statement}`, `  locks: ${locks}`, "  instead:", indented(fix, "    ")].join("\n");
}
