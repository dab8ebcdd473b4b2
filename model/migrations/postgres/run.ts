import type * as Pg from "libpg-query";
import type { Finding } from "../finding";
import type { Delivery } from "../layout";
import { judgesOf } from "../rules";
import type { Action, LockMode } from "./actions";
import { constantOf, isOn, optionsOf, stripCasts, unwrap } from "./ast";
import { type Catalogue, keyOf, type Resolved } from "./catalogue";
import { readCode, registerFunction } from "./code";
import { constantText } from "./constants";
import { type At, type CodeContext, type FileStatement, type Sent, TOP } from "./context";
import { literalsIn, readData, readsLarge } from "./data";
import { fold } from "./fold";
import { locksOf, lockText } from "./locks";
import { type Name, nameOfRangeVar, quoteName } from "./names";
import type { Parser } from "./parser";
import { readStatement } from "./read";
import type { HeldLock, Scene } from "./scene";
import { DEFAULT_SEARCH_PATH, Session } from "./session";
import { applySetting, readSetting } from "./settings";
import { controlTransaction } from "./transactions";

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
const IN_BLOCK = {
  runner: "the transaction that the runner opens around the file",
  explicit: "the transaction that BEGIN opened",
  implicit: "the transaction that the server makes of several statements sent as one string",
} as const;

export interface RunOptions {
  file: string;
  /** Of the file, counted over the whole check. */
  number: number;
  delivery: Delivery;
  /** A file of statements that ran long ago is folded and not judged. */
  silent?: boolean;
  /** The file begins with BEGIN and ends with COMMIT, as its runner wants it. */
  ownTransaction?: boolean;
}

/** Runs the statements of one file over the catalogue, as its runner would, and judges each before it is folded in. */
export class Run {
  readonly findings: Finding[] = [];
  readonly session: Session;
  private upcoming: readonly FileStatement[] = [];
  private multiple = false;

  constructor(
    readonly catalogue: Catalogue,
    readonly parser: Parser,
    private readonly options: RunOptions,
    nextTransaction: () => number,
    rollsBack: boolean,
  ) {
    this.session = new Session(catalogue, rollsBack, nextTransaction);
  }

  runFile(sent: readonly Sent[]): void {
    const { delivery, ownTransaction } = this.options;
    if (delivery === "transaction" && !ownTransaction) this.session.begin("runner", 0);
    const all = sent.flatMap(({ statements }) => statements);
    let index = 0;
    for (const { statements } of sent) {
      this.multiple = delivery !== "transaction" && statements.length > 1;
      for (const statement of statements) {
        index++;
        this.upcoming = all.slice(index, index + LOOK_AHEAD);
        this.runStatement(statement);
      }
      if (this.session.block === "implicit") this.session.commit();
    }
    const last = all.at(-1);
    if (last && this.session.block === "explicit")
      this.judge(
        {
          kind: "transaction-control",
          what: "BEGIN",
          problem: "the transaction is still open at the end of the file, so what it did is lost or its locks stay",
          fix: "End the file with COMMIT;",
        },
        last,
        TOP,
      );
    if (this.session.block === "runner") this.session.commit();
  }

  private runStatement(statement: FileStatement): void {
    const [kind, body] = unwrap(statement.node);
    if (kind === "TransactionStmt") {
      controlTransaction(this, body as Pg.TransactionStmt, statement);
      return;
    }
    if (this.session.block === undefined) {
      if (this.multiple) this.session.begin("implicit", 0);
      else this.session.fresh();
    }
    this.execute(statement.node, statement, TOP);
  }

  /** What a statement does, judged and folded in; also for statements inside of code. */
  execute(node: Pg.Node, at: At, context: CodeContext): void {
    const [kind, body] = unwrap(node);
    if (NOTHING_TO_JUDGE.has(kind)) {
      if (kind === "ReturnStmt") this.data(node, at, context);
      return;
    }
    if (DATA.has(kind)) {
      this.data(node, at, context);
      return;
    }
    switch (kind) {
      case "TransactionStmt":
        this.judge(inCode("transaction control in a function's body"), at, context);
        return;
      case "VariableSetStmt":
        readSetting(this, body as Pg.VariableSetStmt, at, context);
        return;
      case "DiscardStmt":
        if (body.target !== "DISCARD_ALL") return;
        this.session.setSearchPath(DEFAULT_SEARCH_PATH, false);
        this.judge({ kind: "outside-transaction", what: "DISCARD ALL" }, at, context);
        return;
      case "DoStmt":
        readCode(this, body as Pg.DoStmt, at, context);
        return;
      case "CreateFunctionStmt":
        registerFunction(this, body as Pg.CreateFunctionStmt, at.text, this.birth(context));
        return;
      case "CallStmt":
        this.data(node, at, context);
        return;
      case "ExplainStmt": {
        const { query, options } = body as Pg.ExplainStmt;
        if (query && isOn(optionsOf(options).get("analyze"))) this.execute(query, at, context);
        return;
      }
      case "PrepareStmt": {
        const { name = "", query } = body as Pg.PrepareStmt;
        this.session.prepared.add(name);
        if (query) this.execute(query, at, context);
        return;
      }
      case "ExecuteStmt":
        if (!this.session.prepared.has((body as Pg.ExecuteStmt).name ?? ""))
          this.judge(
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
        if (query) this.execute(query, at, context);
        return;
      }
      case "CopyStmt":
        this.copy(body as Pg.CopyStmt, at, context);
        return;
      case "CreateTableAsStmt": {
        const { query } = body as Pg.CreateTableAsStmt;
        if (query && unwrap(query)[0] === "ExecuteStmt") this.execute(query, at, context);
        else if (query) {
          const select = unwrap(query)[1] as Pg.SelectStmt;
          const filled = (body.into as Pg.IntoClause | undefined)?.skipData !== true;
          if (filled && readsLarge(select, this.scene(at, context)))
            this.judge({ kind: "long-read", what: "CREATE ... AS" }, at, context);
          this.data(query, at, context);
        }
        break;
      }
      default:
    }
    const actions = readStatement(node) ?? [
      {
        kind: "uninspectable",
        what: `${kind} is not a statement that this checker knows`,
        fix: "Write it with statements that it knows, or ask for the rule.",
      } as const,
    ];
    this.perform([...this.newEnumValuesIn(node), ...actions], at, context);
  }

  /** A default, check or view that holds a value which this transaction added to an enum. */
  private newEnumValuesIn(node: Pg.Node): Action[] {
    const { enumValues } = this.session;
    // IF NOT EXISTS and the value itself are no uses of it.
    return enumValues.size === 0 || "AlterEnumStmt" in node ? [] : literalsIn(node, enumValues);
  }

  private perform(actions: readonly Action[], at: At, context: CodeContext): void {
    // One statement takes the strongest of its locks for all that it does.
    const others = actions.length > 1 ? actions.filter(({ kind }) => kind !== "validate-constraint") : [];
    const before = [...this.session.held];
    if (actions.some(({ kind }) => kind === "validate-constraint")) for (const action of others) this.hold(action, at);
    for (const action of actions) this.judge(action, at, context);
    this.session.held = before;
    for (const action of actions) this.hold(action, at);
    // PostgreSQL 15 refuses it even where the same transaction made the type.
    for (const action of actions)
      if (action.kind === "enum-value") this.session.enumValues.set(action.value, quoteName(action.name));
  }

  /** Judges one action over the catalogue as it is, and then folds it in. */
  judge(action: Action, at: At, context: CodeContext): void {
    const judges = this.options.silent ? [] : judgesOf(action.kind);
    if (judges.length > 0) {
      const scene = this.scene(at, context);
      for (const { rule, judge } of judges) {
        const verdict = judge(action as never, scene);
        if (verdict === undefined) continue;
        const { message, fix, locks, level, question, affects } = verdict;
        this.report({
          rule: rule.id,
          level: level ?? rule.level,
          question: question ?? rule.question,
          message,
          fix,
          locks: locks ?? this.lockLines(action),
          contractable: rule.contractable,
          affects: affects ?? [],
          ...at.place,
        });
      }
    }
    fold(action, {
      catalogue: this.catalogue,
      searchPath: this.session.searchPath,
      birth: this.birth(context),
      transaction: this.session.transaction,
      certain: !context.conditional,
    });
  }

  private report(finding: Omit<Finding, "file">): void {
    const same = this.findings.find(
      (other) =>
        other.rule === finding.rule &&
        other.line === finding.line &&
        other.column === finding.column &&
        other.message === finding.message,
    );
    if (same === undefined) this.findings.push({ file: this.options.file, ...finding });
  }

  private birth(context: CodeContext): number | undefined {
    return context.conditional ? undefined : this.options.number;
  }

  private lockLines(action: Action): string {
    const taken = locksOf(action);
    if (taken.length === 0) return "no lock on a table";
    return taken.map(({ mode, on }) => lockText(mode, quoteName(on))).join("; ");
  }

  private hold(action: Action, at: At): void {
    for (const { mode, on } of locksOf(action)) if (!this.isBorn(on)) this.session.held.push(heldLock(mode, on, at));
  }

  private isBorn(name: Name): boolean {
    const { relation, certain } = this.catalogue.relation(name, this.session.searchPath);
    return relation !== undefined && certain && (relation.birth === this.options.number || relation.temporary);
  }

  scene({ text, indexOf }: At, context: CodeContext): Scene {
    const { catalogue, session } = this;
    const upcoming = this.upcoming;
    // Many rules ask for the same names.
    const known = new Map<string, { resolved: Resolved; born: boolean }>();
    const resolve = (name: Name) => {
      const written = keyOf(name.schema ?? "", name.name);
      const before = known.get(written);
      if (before) return before;
      const { relation, ...resolved } = catalogue.relation(name, session.searchPath);
      const found = {
        // Where another one may be meant, what is known of this one is not to be trusted.
        resolved: relation && resolved.certain ? { ...resolved, relation } : resolved,
        born: this.isBorn(name),
      };
      known.set(written, found);
      return found;
    };
    return {
      catalogue,
      searchPath: session.searchPath,
      transaction: session.transaction,
      block: context.inside ?? (session.block && IN_BLOCK[session.block]),
      held: session.held,
      text,
      indexOf,
      following: () => (session.block === undefined ? [] : actionsUntilEnd(upcoming)),
      resolve: (name) => resolve(name).resolved,
      born: (name) => resolve(name).born,
      bornHere: (birth) => birth !== undefined && birth === this.options.number,
    };
  }

  private data(node: Pg.Node, at: At, context: CodeContext): void {
    const actions = readData(node, this.scene(at, context), this.session.enumValues);
    for (const action of actions) {
      this.judge(action, at, context);
      if (action.kind === "call") this.call(action, at, context);
    }
  }

  /** Functions whose code is known are looked into; settings that calls change are followed. */
  private call(
    { function: name, arguments: given, standalone }: Extract<Action, { kind: "call" }>,
    at: At,
    context: CodeContext,
  ): void {
    if (name.name === "set_config") {
      const [setting, value, local] = given.map((argument) => constantText(argument, context.variables));
      const [, , third] = given;
      const isLocal = local === "true" || local === "t" || (third !== undefined && constantIsTrue(third));
      if (setting === undefined) return;
      applySetting(this, setting.toLowerCase(), value === undefined ? undefined : pathOf(value), isLocal, at, context);
      return;
    }
    const known = this.catalogue.functionsNamed(name, this.session.searchPath);
    const called = keyOf(name.schema ?? "", name.name);
    if (context.calls.includes(called)) return;
    if (context.calls.length >= MAX_CALL_DEPTH) {
      this.judge(inCode(`${quoteName(name)}() calls others too deeply`), at, context);
      return;
    }
    for (const fact of known)
      readCode(this, fact, at, {
        ...context,
        inside: `${fact.procedure ? "procedure" : "function"} ${quoteName(name)}`,
        mayCommit: fact.procedure && standalone && this.mayCommit(context),
        variables: new Map(),
        calls: [...context.calls, called],
      });
  }

  /** Whether code that runs now may end the transaction: only where nothing else opened one. */
  mayCommit(context: CodeContext): boolean {
    return this.session.block === undefined && (context.inside === undefined || context.mayCommit);
  }

  private copy(body: Pg.CopyStmt, at: At, context: CodeContext): void {
    if (body.is_program)
      this.judge(
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
      this.execute(body.query, at, context);
      return;
    }
    if (body.is_from && body.relation) {
      const table = nameOfRangeVar(body.relation);
      this.judge({ kind: "write", verb: "INSERT", table, bounded: true, single: false, many: false }, at, context);
    }
  }

  /** For code that is read elsewhere: a body's own COMMIT. */
  endInCode(back: boolean, at: At, context: CodeContext): void {
    if (!context.mayCommit) {
      this.judge(
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
    this.session.fresh();
  }

  uninspectable(what: string, fix: string, at: At, context: CodeContext, as?: "dynamic-sql"): void {
    this.judge({ kind: "uninspectable", what, fix, ...(as && { as }) }, at, context);
  }
}

/** Statements after one that are read to see whether they complete it. */
const LOOK_AHEAD = 40;

/** Its place is worked out only where a finding tells it. */
const heldLock = (mode: LockMode, on: Name, at: At): HeldLock => ({
  mode,
  on: quoteName(on),
  get line() {
    return at.place.line;
  },
});

const inCode = (what: string): Action => ({
  kind: "uninspectable",
  what,
  fix: "Write the statements into the migration itself.",
});

function actionsUntilEnd(statements: readonly FileStatement[]): Action[] {
  const actions: Action[] = [];
  for (const { node } of statements) {
    const [kind, body] = unwrap(node);
    if (kind === "TransactionStmt" && /COMMIT|ROLLBACK|PREPARE/.test(String(body.kind))) break;
    actions.push(...(readStatement(node) ?? []));
  }
  return actions;
}

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

/** Whether anything in the statements takes back what was done. */
export function rollsBack(statements: readonly { node: Pg.Node }[]): boolean {
  return statements.some(({ node }) => {
    const [kind, body] = unwrap(node);
    return kind === "TransactionStmt" && /ROLLBACK/.test(String(body.kind));
  });
}
