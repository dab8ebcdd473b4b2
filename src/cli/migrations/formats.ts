import type { CheckResult, FileResult, Finding, Level } from "../../migrations";
import { findRule } from "../../migrations";

/** Forms of the result that CI systems read. */
export const FORMATS = ["text", "json", "github", "sarif", "junit"] as const;
export type Format = (typeof FORMATS)[number];

/** Workflow commands by which GitHub Actions annotates the lines of a pull request. */
export function githubText({ files, verdict }: CheckResult): string {
  const commands: Record<Level, string> = { error: "error", warn: "warning", style: "notice" };
  const lines = files.flatMap(({ findings }) =>
    findings.map(({ file, line, column, level, rule, message }) => {
      const places = `file=${property(file)},line=${line},col=${column},title=${property(rule)}`;
      return `::${commands[level]} ${places}::${data(message)}`;
    }),
  );
  return `${[...lines, `${verdict}: ${files.length} files`].join("\n")}\n`;
}

const data = (text: string): string => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const property = (text: string): string => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");

/** @see https://docs.oasis-open.org/sarif/sarif/v2.1.0/ */
export function sarifDocument({ files }: CheckResult): unknown {
  const findings = files.flatMap((file) => file.findings);
  const rules = [...new Set(findings.map(({ rule }) => rule))].sort();
  const levels: Record<Level, string> = { error: "error", warn: "warning", style: "note" };
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "sluice migrations",
            rules: rules.map((id) => ({ id, shortDescription: { text: findRule(id)?.title ?? id } })),
          },
        },
        results: findings.map(({ rule, level, message, fix, file, line, column }) => ({
          ruleId: rule,
          ruleIndex: rules.indexOf(rule),
          level: levels[level],
          message: { text: `${message}\n\nInstead:\n${fix}` },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: encodeURI(file.replaceAll("\\", "/")) },
                region: { startLine: line, startColumn: column },
              },
            },
          ],
        })),
      },
    ],
  };
}

/** A test case for each file; its errors are the failure, and its warnings come as output. */
export function junitText({ files }: CheckResult): string {
  const failures = files.filter(({ verdict }) => verdict === "unsafe").length;
  const cases = files.map(junitCase);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites><testsuite name="sluice migrations" tests="${files.length}" failures="${failures}">`,
    ...cases,
    "</testsuite></testsuites>",
    "",
  ].join("\n");
}

function junitCase({ path, findings, skipped }: FileResult): string {
  const [errors, others] = [
    findings.filter(({ level }) => level === "error"),
    findings.filter(({ level }) => level !== "error"),
  ];
  const parts = [
    ...(skipped === undefined ? [] : [`<skipped message="${xml(skipped)}"/>`]),
    ...(errors.length === 0
      ? []
      : [`<failure message="${xml(errors.map(({ rule }) => rule).join(", "))}">${xml(linesOf(errors))}</failure>`]),
    ...(others.length === 0 ? [] : [`<system-out>${xml(linesOf(others))}</system-out>`]),
  ];
  return `<testcase classname="migrations" name="${xml(path)}">${parts.join("")}</testcase>`;
}

const linesOf = (findings: readonly Finding[]): string =>
  findings
    .map(({ line, column, level, rule, message }) => `${line}:${column}: ${level} ${rule}: ${message}`)
    .join("\n");

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** XML has no way to write most control characters. */
const xml = (text: string): string =>
  text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that are left out.
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "")
    .replace(/[&<>"]/g, (char) => ENTITIES[char] ?? char);
