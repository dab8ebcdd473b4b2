import { messageOf } from "../model/types/errors";
import { type DialectContext, type Judgement, judgeStatement, type Tree } from "./dialects/judge";
import { splitStatements } from "./dialects/split";
import type { CheckOptions, Dialect, FileResult, Finding, MigrationFile } from "./finding";
import { findRule } from "./rules";
import { readLayout } from "./runners/layout";
import { excerpt, SourceText } from "./text";

type Other = Exclude<Dialect, "postgres">;

interface DialectParser {
  astify(sql: string): unknown;
}

/** MySQL runs what such comments hold; the delimiter is its client's, as backslashes and dots are of others. */
const HIDDEN = /\/\*M?!|^\s*(?:delimiter|source)\b|^\s*[.\\]/i;
const BLANK = /^(?:\s|--[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\/)*/;

/**
 * Migrations of MySQL and SQLite: changes of the schema by the same questions. Their parser knows less of its languages
 * than PostgreSQL's own does; whatever it, or the judgement, does not know is refused and says so.
 */
export async function judgeOtherDialect(
  dialect: Other,
  files: readonly MigrationFile[],
  options: CheckOptions,
): Promise<FileResult[]> {
  const parser = await loadDialect(dialect);
  return files.map((file) => judgeFile(parser, file, dialect, options));
}

/** Only the dialect's own part of the package: all of it takes a second to load. */
async function loadDialect(dialect: Other): Promise<DialectParser> {
  const module =
    dialect === "mysql" ? await import("node-sql-parser/build/mysql") : await import("node-sql-parser/build/sqlite");
  // Written for CommonJS: what it exports comes as the default, or as it is.
  type Exports = { Parser: new () => DialectParser };
  const { default: inner, ...outer } = module as unknown as { default?: Exports } & Exports;
  return new (inner ?? outer).Parser();
}

function judgeFile(parser: DialectParser, file: MigrationFile, dialect: Other, options: CheckOptions): FileResult {
  const { path } = file;
  const layout = readLayout(file, options);
  const { runner, skipped } = layout;
  if (skipped !== undefined) return { path, runner, verdict: "safe", findings: [], skipped };
  if (options.applied?.has(path))
    return { path, runner, verdict: "safe", findings: [], skipped: "it is applied already" };
  const source = new SourceText(layout.text);
  const context: DialectContext = { dialect, transaction: options.transaction ?? "per-file", born: new Set() };
  const findings: Finding[] = layout.problems.map(({ at, message, fix }) =>
    finding(path, source, at, { rule: "dynamic-sql", message: `This can't be judged: ${message}.`, fix }),
  );
  for (const { start, end } of splitStatements(layout.text, {
    backslash: dialect === "mysql",
    hash: dialect === "mysql",
  })) {
    const written = layout.text.slice(start, end);
    const at = start + (BLANK.exec(written)?.[0].length ?? 0);
    if (at >= end && !HIDDEN.test(written)) continue;
    for (const judgement of judgeText(parser, written, context))
      findings.push(finding(path, source, Math.min(at, end), judgement));
  }
  const unsafe = findings.some(({ level }) => level === "error");
  return { path, runner, verdict: unsafe ? "unsafe" : "safe", findings };
}

function judgeText(parser: DialectParser, written: string, context: DialectContext): Judgement[] {
  const unread = (why: string): Judgement[] => [
    {
      rule: "syntax-error",
      message: `This can't be judged: ${why}.`,
      fix: "Judge it by hand, and bypass this finding.",
    },
  ];
  if (HIDDEN.test(written)) return unread("it holds what only a client or a certain version runs");
  try {
    const trees = [parser.astify(written)].flat() as Tree[];
    return trees.length === 1 && trees[0] ? judgeStatement(trees[0], context) : unread("it is not one statement");
  } catch (error) {
    const [first = ""] = messageOf(error).split("\n");
    return unread(`the parser for ${context.dialect} does not read it (${excerpt(first)})`);
  }
}

function finding(file: string, source: SourceText, at: number, { rule: id, message, fix, level }: Judgement): Finding {
  const rule = findRule(id);
  return {
    rule: id,
    level: level ?? rule?.level ?? "error",
    question: rule?.question ?? "locks",
    file,
    ...source.position(at),
    statement: excerpt(source.text.slice(at).split(";", 1)[0] ?? ""),
    message,
    locks: "not known for this database",
    fix,
    contractable: rule?.contractable ?? false,
    affects: [],
  };
}
