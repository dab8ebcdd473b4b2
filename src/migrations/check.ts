import type { Runner } from "../model/policy/migration-runner";
import { judgeOtherDialect } from "./dialects";
import type { CheckOptions, CheckResult, FileResult, Finding, MigrationFile } from "./finding";
import type { Range } from "./lexer";
import { Catalogue } from "./postgres/catalogue/catalogue";
import { readStatement } from "./postgres/read/read";
import { Analyzer, rollsBack } from "./postgres/run/analyzer";
import { unwrap } from "./postgres/syntax/ast";
import type { Batch, FileStatement } from "./postgres/syntax/context";
import { loadParser, type Parser } from "./postgres/syntax/parser";
import { readStatements, type StatementProblem } from "./postgres/syntax/statements";
import { type Layout, type LayoutProblem, readLayout } from "./runners/layout";
import { notOfDialect } from "./runners/names";
import type { Delivery } from "./runners/runner";
import { SourceText } from "./text";

/**
 * Judges migrations in the order given: each file as pending after the ones before it, which are applied to the
 * catalogue. Objects of an earlier file are no longer exempt in a later one, as they may be live by then.
 */
export async function checkMigrations(
  files: readonly MigrationFile[],
  options: CheckOptions = {},
): Promise<CheckResult> {
  const { dialect = "postgres" } = options;
  const left = notOfDialect(
    files.map(({ path }) => path),
    dialect,
  );
  const judged = files.filter(({ path }) => !left.has(path));
  const results =
    dialect === "postgres"
      ? new PostgresCheck(await loadParser(), options).judgeAll(judged)
      : await judgeOtherDialect(dialect, judged, options);
  const next = results[Symbol.iterator]();
  const all = files.map(({ path }): FileResult => {
    const skipped = left.get(path);
    return skipped === undefined
      ? (next.next().value as FileResult)
      : { path, runner: "pop", verdict: "safe", findings: [], skipped };
  });
  return { verdict: all.every(({ verdict }) => verdict === "safe") ? "safe" : "unsafe", files: all };
}

function verdictOf(findings: readonly Finding[]): FileResult["verdict"] {
  return findings.some(({ level }) => level === "error") ? "unsafe" : "safe";
}

const SCHEMA_FILE = -1;
const APPLIED = "it is applied already";

class PostgresCheck {
  private readonly catalogue = new Catalogue();
  private transactions = 0;
  private paths: readonly string[] = [];

  constructor(
    private readonly parser: Parser,
    private readonly options: CheckOptions,
  ) {
    const { schema } = options;
    if (schema === undefined) return;
    const file = { path: "schema", sql: schema };
    const left = this.run(file, SCHEMA_FILE, readLayout(file, { runner: "plain", transaction: "none" }), true);
    // Its psql commands make no tables; statements that can't be read may.
    this.catalogue.whole = left.every(({ rule }) => rule === "psql-command");
  }

  judgeAll(files: readonly MigrationFile[]): FileResult[] {
    this.paths = files.map(({ path }) => path);
    return files.map((file, number) => this.judge(file, number));
  }

  private judge(file: MigrationFile, number: number): FileResult {
    const layout = readLayout(file, this.options);
    const { runner, skipped } = layout;
    if (skipped !== undefined) return { path: file.path, runner, verdict: "safe", findings: [], skipped };
    const isApplied = this.options.applied?.has(file.path) === true;
    let findings: Finding[];
    try {
      findings = this.run(file, number, layout, isApplied);
    } catch (error) {
      // Only a text that nests thousands of times gets here: it is not judged, so it is not safe.
      if (!(error instanceof RangeError)) throw error;
      findings = [unreadable(file, "it nests too deeply to be read")];
    }
    if (isApplied) return { path: file.path, runner, verdict: "safe", findings: [], skipped: APPLIED };
    findings.sort((a, b) => a.line - b.line || a.column - b.column);
    return { path: file.path, runner, verdict: verdictOf(findings), findings };
  }

  private run(file: MigrationFile, number: number, layout: Layout, silent: boolean): Finding[] {
    const source = new SourceText(layout.text);
    const { statements, problems } = readStatements(this.parser, source);
    const templates = templatesIn(layout, problems, statements);
    const plain = templates.length === 0 ? statements : statements.filter(({ text }) => !TEMPLATE.test(text));
    const ownTransaction = OWN_TRANSACTIONS.has(layout.runner) && isWrapped(statements);
    const delivery = layout.runner === "flyway" ? flywayDelivery(layout, statements) : layout.delivery;
    const run = new Analyzer(
      this.catalogue,
      this.parser,
      {
        file: file.path,
        number,
        fileOf: (of) => (of === SCHEMA_FILE ? "the schema" : (this.paths[of] ?? "")),
        ...(this.options.postgres !== undefined && { version: this.options.postgres }),
        delivery,
        silent,
        ownTransaction,
      },
      () => ++this.transactions,
      rollsBack(statements),
    );
    run.runFile(batchesOf(delivery, layout.groups, plain));
    const more = [
      ...problems
        .filter(({ text }) => templates.length === 0 || !TEMPLATE.test(text))
        .map((problem) => problemFinding(file, problem)),
      ...[...layout.problems, ...templates].map((problem) => layoutFinding(file, source, problem)),
    ];
    return [...run.findings, ...more];
  }
}

/** Their files may bring a transaction of their own, also where the operator says that one is opened around them. */
const OWN_TRANSACTIONS: ReadonlySet<Runner> = new Set(["golang-migrate", "prisma"]);

const TEMPLATE = /\{\{[^}\n]*\}\}/;
/** Inside of code, where the parser does not stop at it. */
const GO_TEMPLATE = /\{\{-?\s*(?:\.|index\s)/;

/** One finding for all that a template leaves open. Such braces may be data: elsewhere than in pop they count where they don't parse. */
function templatesIn(
  { runner, text }: Layout,
  problems: readonly StatementProblem[],
  statements: readonly FileStatement[],
): LayoutProblem[] {
  const inCode = ({ node, text: code }: FileStatement) =>
    ("DoStmt" in node || "CreateFunctionStmt" in node) && GO_TEMPLATE.test(code);
  const filled = runner === "pop" || problems.some((problem) => TEMPLATE.test(problem.text)) || statements.some(inCode);
  const found = filled ? TEMPLATE.exec(text) : null;
  if (!found) return [];
  const { 0: written, index: at } = found;
  const message = `a template puts values in the place of ${written} and its like, so what runs can't be known from the file`;
  return [{ at, message, fix: "Write the values themselves, or check what the template makes of it." }];
}

/** Flyway opens no transaction around a file if PostgreSQL lets none of its statements run in one. */
function flywayDelivery({ delivery }: Layout, statements: readonly FileStatement[]): Delivery {
  const isOutside = ({ node }: FileStatement) =>
    readStatement(node)?.some(({ kind }) => kind === "outside-transaction") === true;
  return statements.length > 0 && statements.every(isOutside) ? "each" : delivery;
}

/** Whether a file opens and ends its own transaction around all that it does. */
function isWrapped(statements: readonly FileStatement[]): boolean {
  const kindAt = (index: number) => {
    const [kind, body] = unwrap(statements.at(index)?.node ?? { A_Star: {} });
    return kind === "TransactionStmt" ? String(body.kind) : "";
  };
  return /BEGIN|START/.test(kindAt(0)) && /COMMIT$/.test(kindAt(-1));
}

function batchesOf(delivery: Delivery, groups: readonly Range[], statements: readonly FileStatement[]): Batch[] {
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
