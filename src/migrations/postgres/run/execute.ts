import type * as Pg from "libpg-query";
import { keyOf } from "../catalogue/catalogue";
import type { Action } from "../read/actions";
import { literalsIn, readData, readsLarge, scans, WRITE } from "../read/data";
import { constantOf, isOn, optionsOf, stripCasts, unwrap } from "../syntax/ast";
import { constantText } from "../syntax/constants";
import type { At, CodeContext } from "../syntax/context";
import { nameOfRangeVar, quoteName } from "../syntax/names";
import { mayCommit, readCode, registerFunction } from "./code";
import type { Execution } from "./execution";
import { DEFAULT_SEARCH_PATH } from "./session";
import { applySetting, readSetting } from "./settings";

/** Code that calls code that calls code: deeper is not looked into, and so not trusted. */
const MAX_CALL_DEPTH = 16;
const NOTHING_TO_JUDGE = new Set([
  "VariableShowStmt",
  "FetchStmt",
  "ClosePortalStmt",
  "ListenStmt",
  "NotifyStmt",
  "UnlistenStmt",
  "DeallocateStmt",
  "ConstraintsSetStmt",
  "CheckPointStmt",
  "ReturnStmt",
]);
const DATA = new Set(["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"]);

/**
 * Reads a statement by its kind, follows it, and does what it does. Long because it has one short case for each kind.
 */
export function executeStatement(run: Execution, node: Pg.Node, at: At, context: CodeContext): void {
  const [kind, body] = unwrap(node);
  if (NOTHING_TO_JUDGE.has(kind)) {
    if (kind === "ReturnStmt") readDataOf(run, node, at, context);
    return;
  }
  if (DATA.has(kind)) {
    if (run.session.held.length > 0 && scans(node, run.ruleContext(at, context)))
      run.judge({ kind: "long-read", what: "SELECT" }, at, context);
    readDataOf(run, node, at, context);
    return;
  }
  switch (kind) {
    case "TransactionStmt":
      run.judge(inCode("transaction control in a function's body"), at, context);
      return;
    case "VariableSetStmt":
      readSetting(run, body as Pg.VariableSetStmt, at, context);
      return;
    case "DiscardStmt":
      if (body.target !== "DISCARD_ALL") return;
      run.session.setSearchPath(DEFAULT_SEARCH_PATH, false);
      run.judge({ kind: "outside-transaction", what: "DISCARD ALL" }, at, context);
      return;
    case "DoStmt":
      readCode(run, body as Pg.DoStmt, at, context);
      return;
    case "CreateFunctionStmt":
      registerFunction(run, body as Pg.CreateFunctionStmt, at.text, run.createdAt(context));
      return;
    case "CallStmt":
      readDataOf(run, node, at, context);
      return;
    case "ExplainStmt": {
      const { query, options } = body as Pg.ExplainStmt;
      if (query && isOn(optionsOf(options).get("analyze"))) run.execute(query, at, context);
      return;
    }
    case "PrepareStmt": {
      const { name = "", query } = body as Pg.PrepareStmt;
      run.session.prepared.add(name);
      if (query) run.execute(query, at, context);
      return;
    }
    case "ExecuteStmt":
      if (!run.session.prepared.has((body as Pg.ExecuteStmt).name ?? ""))
        run.judge(
          {
            kind: "uninspectable",
            as: "dynamic-sql",
            what: "the prepared statement that EXECUTE runs is not in this file",
            fix: "Write the statement itself.",
          },
          at,
          context,
        );
      return;
    case "DeclareCursorStmt": {
      const { query } = body as Pg.DeclareCursorStmt;
      if (query) run.execute(query, at, context);
      return;
    }
    case "CopyStmt":
      copy(run, body as Pg.CopyStmt, at, context);
      return;
    case "CreateTableAsStmt": {
      const { query } = body as Pg.CreateTableAsStmt;
      if (query && unwrap(query)[0] === "ExecuteStmt") run.execute(query, at, context);
      else if (query) {
        const select = unwrap(query)[1] as Pg.SelectStmt;
        const filled = (body.into as Pg.IntoClause | undefined)?.skipData !== true;
        if (filled && readsLarge(select, run.ruleContext(at, context)))
          run.judge({ kind: "long-read", what: "CREATE ... AS" }, at, context);
        readDataOf(run, query, at, context);
      }
      break;
    }
    default:
  }
  const actions = run.actionsOf(node) ?? [
    {
      kind: "uninspectable",
      what: `${kind} is not a statement that this checker knows`,
      fix: "Write it with statements that it knows, or ask for the rule.",
    } as const,
  ];
  run.perform([...newEnumValuesIn(run, node), ...actions], at, context);
}

/** A default, check or view that holds a value which this transaction added to an enum. */
function newEnumValuesIn(run: Execution, node: Pg.Node): Action[] {
  const { enumValues } = run.session;
  // IF NOT EXISTS and the value itself are no uses of it.
  return enumValues.size === 0 || "AlterEnumStmt" in node ? [] : literalsIn(node, enumValues);
}

function readDataOf(run: Execution, node: Pg.Node, at: At, context: CodeContext): void {
  const actions = readData(node, run.ruleContext(at, context), run.session.enumValues);
  for (const action of actions) {
    run.judge(action, at, context);
    if (action.kind === "call") call(run, action, at, context);
  }
}

/** Functions whose code is known are looked into; settings that calls change are followed. */
function call(
  run: Execution,
  { function: name, arguments: given, standalone }: Extract<Action, { kind: "call" }>,
  at: At,
  context: CodeContext,
): void {
  if (name.name === "set_config") {
    const [setting, value, local] = given.map((argument) => constantText(argument, context.variables));
    const [, , third] = given;
    const isLocal = local === "true" || local === "t" || (third !== undefined && constantIsTrue(third));
    if (setting === undefined) return;
    applySetting(run, setting.toLowerCase(), value === undefined ? undefined : pathOf(value), isLocal, at, context);
    return;
  }
  const known = run.catalogue.functionsNamed(name, run.session.searchPath);
  const called = keyOf(name.schema ?? "", name.name);
  if (context.calls.includes(called)) return;
  if (context.calls.length >= MAX_CALL_DEPTH) {
    run.judge(inCode(`${quoteName(name)}() calls others too deeply`), at, context);
    return;
  }
  for (const fact of known)
    readCode(run, fact, at, {
      ...context,
      inside: `${fact.procedure ? "procedure" : "function"} ${quoteName(name)}`,
      mayCommit: fact.procedure && standalone && mayCommit(run, context),
      variables: new Map(),
      calls: [...context.calls, called],
    });
}

function copy(run: Execution, body: Pg.CopyStmt, at: At, context: CodeContext): void {
  if (body.is_program)
    run.judge(
      {
        kind: "uninspectable",
        as: "copy-program",
        what: `COPY runs the program ${body.filename ?? ""} on the database's host`,
        fix: "Run the program where the migration runs, and copy its output with COPY ... FROM STDIN.",
      },
      at,
      context,
    );
  if (body.query) {
    run.execute(body.query, at, context);
    return;
  }
  if (body.is_from && body.relation) {
    const table = nameOfRangeVar(body.relation);
    run.judge({ ...WRITE, verb: "INSERT", table, bounded: true, many: false }, at, context);
  }
}

const inCode = (what: string): Action => ({
  kind: "uninspectable",
  what,
  fix: "Write the statements into the migration itself.",
});

/** A search path as text: names, quoted or not, between commas. */
function pathOf(text: string): string[] {
  return text.split(",").map((part) => {
    const name = part.trim();
    return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
  });
}

function constantIsTrue(node: Pg.Node): boolean {
  const inner = stripCasts(node);
  return "A_Const" in inner && constantOf(inner.A_Const) === "true";
}
