import type * as Pg from "libpg-query";
import { excerpt } from "../../text";
import { type CreatedAt, type FunctionFact, keyOf } from "../catalogue/catalogue";
import { routineShape } from "../read/routine";
import { optionsOf, optionText, unwrap } from "../syntax/ast";
import { constantText } from "../syntax/constants";
import type { At, CodeContext } from "../syntax/context";
import { stringsOf } from "../syntax/names";
import { SyntaxProblem } from "../syntax/parser";
import { readPlpgsql } from "../syntax/plpgsql";
import type { Execution } from "./execution";

const READ_LANGUAGES = new Set(["plpgsql", "sql"]);
const WRITE_PLAINLY = "Write the statements into the migration itself.";

/** Keeps what a function says, for when something calls it. */
export function registerFunction(
  run: Execution,
  body: Pg.CreateFunctionStmt,
  statement: string,
  createdAt: CreatedAt,
): void {
  const { replace, is_procedure, sql_body } = body;
  const options = optionsOf(body.options);
  const shape = routineShape(body);
  const { name, signature } = shape;
  const schema = name.schema ?? run.session.searchPath[0] ?? "public";
  const key = keyOf(schema, name.name);
  const others = (run.catalogue.functions.get(key) ?? []).filter((other) => other.shape.signature !== signature);
  const replaced = (run.catalogue.functions.get(key) ?? []).find((other) => other.shape.signature === signature);
  const text = options.get("as")?.arg;
  const parts = text && "List" in text ? stringsOf(text.List.items) : [];
  const volatility = optionText(options.get("volatility") ?? {});
  const path = searchPathOf(options.get("set"));
  const fact: FunctionFact = {
    // The object that OR REPLACE finds is unknown, unless this file made it.
    createdAt: replace ? replaced?.createdAt : run.session.bornAs(`routine ${key} ${signature}`, createdAt),
    shape,
    procedure: is_procedure === true,
    volatility: volatility === "immutable" || volatility === "stable" ? volatility : "volatile",
    language: (optionText(options.get("language") ?? {}) ?? "sql").toLowerCase(),
    statement,
    ...(parts.length === 1 && { body: parts[0] ?? "" }),
    ...(sql_body && { parsed: flatten(sql_body) }),
    ...(path && { searchPath: path }),
  };
  run.catalogue.functions.set(key, [...others, fact]);
}

function flatten(node: Pg.Node): Pg.Node[] {
  return "List" in node ? (node.List.items ?? []).flatMap(flatten) : [node];
}

function searchPathOf(option: Pg.DefElem | undefined): string[] | undefined {
  const set = option?.arg && "VariableSetStmt" in option.arg ? option.arg.VariableSetStmt : undefined;
  if (set?.name !== "search_path") return undefined;
  return (set.args ?? []).flatMap((argument) => constantText(argument, new Map()) ?? []);
}

/** Runs the body of a DO block, or of a function that something calls. */
export function readCode(run: Execution, code: Pg.DoStmt | FunctionFact, at: At, context: CodeContext): void {
  const before = run.session.searchPath;
  try {
    if ("statement" in code) readFunction(run, code, at, context);
    else readBlock(run, code, at, context);
  } finally {
    if ("searchPath" in code) run.session.searchPath = before;
  }
}

function readBlock(run: Execution, { args }: Pg.DoStmt, at: At, context: CodeContext): void {
  const options = optionsOf(args);
  const language = (optionText(options.get("language") ?? {}) ?? "plpgsql").toLowerCase();
  const body = optionText(options.get("as") ?? {}) ?? "";
  const inner = { ...context, inside: "a DO block", mayCommit: mayCommit(run, context), variables: new Map() };
  if (language !== "plpgsql") {
    uninspectable(run, `a DO block in ${language} can't be read`, WRITE_PLAINLY, at, context);
    return;
  }
  plpgsql(run, at.text, body, at, inner, linesBefore(at.text, body));
}

function readFunction(run: Execution, fact: FunctionFact, at: At, context: CodeContext): void {
  const name = context.inside ?? "a function";
  if (!READ_LANGUAGES.has(fact.language)) {
    uninspectable(run, `${name} is written in ${fact.language}, which can't be read`, WRITE_PLAINLY, at, context);
    return;
  }
  if (fact.searchPath) run.session.searchPath = fact.searchPath;
  if (fact.language === "plpgsql") {
    plpgsql(run, fact.statement, fact.body ?? "", at, context);
    return;
  }
  if (fact.parsed) {
    for (const node of fact.parsed) run.execute(node, at, context);
    return;
  }
  runText(run, fact.body ?? "", at, context);
}

/** @param line of the body's beginning, counted from the statement's own; undefined: findings point at the call */
function plpgsql(run: Execution, statement: string, body: string, at: At, context: CodeContext, line?: number): void {
  let tree: unknown;
  try {
    tree = run.parser.parseFunction(statement);
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    uninspectable(
      run,
      `${context.inside ?? "the code"} can't be read as PL/pgSQL: ${error.message}`,
      "Correct it, or write the statements into the migration itself.",
      at,
      context,
    );
    return;
  }
  readPlpgsql(tree, body, context, {
    statement: (sql, lineNumber, inner) => runText(run, sql, placed(at, sql, line, lineNumber), inner),
    dynamic: (sql, shape, lineNumber, inner) => {
      if (onlyGrants(run, shape)) return;
      uninspectable(
        run,
        `${inner.inside ?? "the code"} executes text that is put together at run time: ${excerpt(sql)}`,
        "Write out each statement that it would execute.",
        placed(at, sql, line, lineNumber),
        inner,
        "dynamic-sql",
      );
    },
    parse: (sql) => expressionOf(run, sql),
    end: (back, lineNumber, inner) =>
      endInCode(run, back, placed(at, back ? "ROLLBACK" : "COMMIT", line, lineNumber), inner),
  });
}

function placed(at: At, sql: string, bodyLine: number | undefined, lineNumber: number): At {
  const statement = excerpt(sql);
  if (bodyLine === undefined) return { text: sql, indexOf: inAscii, place: { ...at.place, statement } };
  return {
    text: sql,
    indexOf: inAscii,
    place: { line: at.place.line + bodyLine + Math.max(lineNumber, 1) - 1, column: 1, statement },
  };
}

/** Right but for texts with letters beyond ASCII, where a rewrite shows a place a little off. */
const inAscii = (location: number): number => location;

function linesBefore(text: string, body: string): number {
  const start = text.indexOf(body);
  return start < 0 ? 0 : text.slice(0, start).split("\n").length - 1;
}

/** Privileges that are given take nothing from anybody, whoever gets them. */
function onlyGrants(run: Execution, sql: string): boolean {
  try {
    const statements = run.parser.parse(sql);
    return statements.length > 0 && statements.every(({ node }) => unwrap(node)[1].is_grant === true);
  } catch (error) {
    if (error instanceof SyntaxProblem) return false;
    throw error;
  }
}

function expressionOf(run: Execution, sql: string): Pg.Node | undefined {
  try {
    const [first] = run.parser.parse(`SELECT ${sql}`);
    const [, select] = first ? unwrap(first.node) : ["", {}];
    const [target] = (select.targetList ?? []) as Pg.Node[];
    return target && "ResTarget" in target ? target.ResTarget.val : undefined;
  } catch (error) {
    if (error instanceof SyntaxProblem) return undefined;
    throw error;
  }
}

/** Statements that come as text: a SQL function's body, or what constant EXECUTE runs. */
function runText(run: Execution, sql: string, at: At, context: CodeContext): void {
  let statements: { node: Pg.Node }[];
  try {
    statements = run.parser.parse(sql);
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    uninspectable(
      run,
      `${context.inside ?? "the code"} holds a statement that can't be read: ${error.message}`,
      "Correct it.",
      at,
      context,
    );
    return;
  }
  for (const { node } of statements) run.execute(node, { ...at, text: sql }, context);
}

/** Whether code that runs now may end the transaction: only where nothing else opened one. */
export function mayCommit(run: Execution, context: CodeContext): boolean {
  return run.session.block === undefined && (context.inside === undefined || context.mayCommit);
}

/** A body's own COMMIT or ROLLBACK. */
function endInCode(run: Execution, back: boolean, at: At, context: CodeContext): void {
  if (!context.mayCommit) {
    run.judge(
      {
        kind: "transaction-control",
        what: back ? "ROLLBACK" : "COMMIT",
        problem: "code may end a transaction only where nothing around it has opened one, so it fails here",
        fix: "Run the file without a transaction around it, or leave it out.",
      },
      at,
      context,
    );
    return;
  }
  run.session.fresh();
}

function uninspectable(
  run: Execution,
  what: string,
  fix: string,
  at: At,
  context: CodeContext,
  as?: "dynamic-sql",
): void {
  run.judge({ kind: "uninspectable", what, fix, ...(as && { as }) }, at, context);
}
