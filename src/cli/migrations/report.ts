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

/** Findings that are printed one by one without being asked for. */
const MANY = 30;

/**
 * Text for people: a summary, then a line that editors can jump to for each finding, the reason, the locks and the rewrite.
 *
 * @param details whether each finding is printed, however many there are
 */
export function checkText({ files, verdict }: CheckResult, details: boolean): string {
  const explained = new Set<string>();
  const errors = count(files, "error");
  const warnings = count(files, "warn");
  const skipped = files.filter((file) => file.skipped !== undefined);
  const judged = files.length - skipped.length;
  const short = !details && errors + warnings > MANY;
  const summary = [
    `${verdict}: ${judged} ${judged === 1 ? "file" : "files"}, ${errors} ${errors === 1 ? "error" : "errors"}, ${warnings} ${warnings === 1 ? "warning" : "warnings"}`,
    ...leftOut(skipped),
    ...runnersText(files),
    ...(errors > 0 ? ["sluice migrations explain RULE describes a rule"] : []),
  ];
  const blocks = files.filter(({ findings }) => findings.length > 0).map((file) => fileText(file, explained));
  return `${[
    summary.join("\n"),
    ...(errors + warnings > MANY ? tables(files) : []),
    ...(short
      ? [
          "--details prints each finding; --since REVISION and --applied VERSION leave out files that are not new, and print the rest",
        ]
      : blocks),
  ].join("\n\n")}\n`;
}

/** How many files were not judged, by the reason. */
function leftOut(skipped: readonly FileResult[]): string[] {
  const reasons = new Map<string, number>();
  for (const { skipped: why = "" } of skipped) reasons.set(why, (reasons.get(why) ?? 0) + 1);
  return [...reasons].map(([why, number]) => `${number} left out: ${why}`);
}

const MAX_ROWS = 20;

/** Errors by rule, and by file, the most first. */
function tables(files: readonly FileResult[]): string[] {
  const errors = files.flatMap(({ findings }) => findings.filter(({ level }) => level === "error"));
  return [
    table(
      "errors by rule",
      errors.map(({ rule }) => rule),
    ),
    table(
      "errors by file",
      errors.map(({ file }) => file),
    ),
  ];
}

function table(title: string, names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const rows = [...counts].sort(([, a], [, b]) => b - a);
  const more = rows.length - MAX_ROWS;
  return [
    `${title}:`,
    ...rows.slice(0, MAX_ROWS).map(([name, number]) => `${String(number).padStart(6)}  ${name}`),
    ...(more > 0 ? [`        and ${more} more`] : []),
  ].join("\n");
}

function runnersText(files: readonly FileResult[]): string[] {
  const names = [...new Set(files.filter(({ skipped }) => skipped === undefined).map(({ runner }) => runner))];
  if (names.length === 0) return [];
  const plain = names.includes("plain") ? " (no runner is known by their names)" : "";
  return [`read as files of ${names.join(" and ")}${plain}; --runner tells another one`];
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
