import { judgeOtherDialect } from "./dialects";
import type { CheckOptions, CheckResult, FileResult, Finding, MigrationFile } from "./finding";
import { type Layout, type LayoutProblem, readLayout } from "./layout";
import { Catalogue } from "./postgres/catalogue/catalogue";
import { Analyzer, rollsBack } from "./postgres/run/analyzer";
import { unwrap } from "./postgres/syntax/ast";
import type { Batch, FileStatement } from "./postgres/syntax/context";
import { loadParser, type Parser } from "./postgres/syntax/parser";
import { readStatements, type StatementProblem } from "./postgres/syntax/statements";
import { SourceText } from "./text";

/**
 * Judges migrations in the order given: each file as pending after the ones before it, which are applied to the
 * catalogue. Objects of an earlier file are no longer exempt in a later one, as they may be live by then.
 */
export async function checkMigrations(
  files: readonly MigrationFile[],
  options: CheckOptions = {},
): Promise<CheckResult> {
  const { dialect = "postgres", transaction = "per-file", schema } = options;
  const results =
    dialect === "postgres"
      ? new PostgresCheck(await loadParser(), transaction, schema).judgeAll(files)
      : await judgeOtherDialect(dialect, files, transaction);
  return { verdict: results.every(({ verdict }) => verdict === "safe") ? "safe" : "unsafe", files: results };
}

function verdictOf(findings: readonly Finding[]): FileResult["verdict"] {
  return findings.some(({ level }) => level === "error") ? "unsafe" : "safe";
}

const SCHEMA_FILE = -1;

class PostgresCheck {
  private readonly catalogue = new Catalogue();
  private transactions = 0;

  constructor(
    private readonly parser: Parser,
    private readonly mode: "per-file" | "none",
    schema: string | undefined,
  ) {
    if (schema === undefined) return;
    const left = this.run({ path: "schema", sql: schema }, SCHEMA_FILE, readLayout("schema", schema, "none"), true);
    // Its psql commands make no tables; statements that can't be read may.
    this.catalogue.whole = left.every(({ rule }) => rule === "psql-command");
  }

  judgeAll(files: readonly MigrationFile[]): FileResult[] {
    return files.map((file, number) => this.judge(file, number));
  }

  private judge(file: MigrationFile, number: number): FileResult {
    const layout = readLayout(file.path, file.sql, this.mode);
    if (layout.skipped !== undefined)
      return { path: file.path, verdict: "safe", findings: [], skipped: layout.skipped };
    let findings: Finding[];
    try {
      findings = this.run(file, number, layout, false);
    } catch (error) {
      // Only a text that nests thousands of times gets here: it is not judged, so it is not safe.
      if (!(error instanceof RangeError)) throw error;
      findings = [unreadable(file, "it nests too deeply to be read")];
    }
    findings.sort((a, b) => a.line - b.line || a.column - b.column);
    return { path: file.path, verdict: verdictOf(findings), findings };
  }

  private run(file: MigrationFile, number: number, layout: Layout, silent: boolean): Finding[] {
    const source = new SourceText(layout.text);
    const { statements, problems } = readStatements(this.parser, source);
    const ownTransaction = layout.runner === "up-down" && isWrapped(statements);
    const run = new Analyzer(
      this.catalogue,
      this.parser,
      { file: file.path, number, delivery: layout.delivery, silent, ownTransaction },
      () => ++this.transactions,
      rollsBack(statements),
    );
    run.runFile(batchesOf(layout, statements));
    const more = [
      ...problems.map((problem) => problemFinding(file, problem)),
      ...layout.problems.map((problem) => layoutFinding(file, source, problem)),
    ];
    return [...run.findings, ...more];
  }
}

/** Whether a file opens and ends its own transaction around all that it does. */
function isWrapped(statements: readonly FileStatement[]): boolean {
  const kindAt = (index: number) => {
    const [kind, body] = unwrap(statements.at(index)?.node ?? { A_Star: {} });
    return kind === "TransactionStmt" ? String(body.kind) : "";
  };
  return /BEGIN|START/.test(kindAt(0)) && /COMMIT$/.test(kindAt(-1));
}

function batchesOf({ delivery, groups }: Layout, statements: readonly FileStatement[]): Batch[] {
  if (delivery !== "each") return [{ statements }];
  const batches: Batch[] = [];
  const grouped = new Map<number, FileStatement[]>();
  for (const statement of statements) {
    const index = groups.findIndex(({ start, end }) => statement.start >= start && statement.start < end);
    const group = grouped.get(index);
    if (index >= 0 && group) group.push(statement);
    else {
      const own = [statement];
      batches.push({ statements: own });
      if (index >= 0) grouped.set(index, own);
    }
  }
  return batches;
}

function problemFinding(file: MigrationFile, { kind, message, fix, place }: StatementProblem): Finding {
  return { ...unreadable(file, message), rule: kind, fix, ...place };
}

function layoutFinding(file: MigrationFile, source: SourceText, { at, message, fix }: LayoutProblem): Finding {
  const line = source.text.slice(at).split("\n", 1)[0] ?? "";
  return { ...unreadable(file, message), rule: "dynamic-sql", fix, statement: line, ...source.position(at) };
}

function unreadable({ path }: MigrationFile, message: string): Finding {
  return {
    rule: "syntax-error",
    level: "error",
    question: "locks",
    file: path,
    line: 1,
    column: 1,
    statement: "",
    message: `This can't be judged: ${message}.`,
    locks: "not known",
    fix: "Write plain SQL that PostgreSQL's parser reads.",
    contractable: false,
    affects: [],
  };
}
