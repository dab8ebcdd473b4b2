import type * as Pg from "libpg-query";
import type { Finding } from "../../finding";
import { judgesOf } from "../../rules";
import type { Delivery } from "../../runners/runner";
import { applyDdl } from "../catalogue/apply-ddl";
import { type Catalogue, keyOf, type Resolved } from "../catalogue/catalogue";
import { locksOf, lockText } from "../catalogue/locks";
import type { Action, LockMode } from "../read/actions";
import { readStatement } from "../read/read";
import { unwrap } from "../syntax/ast";
import { type At, type Batch, type CodeContext, type FileStatement, TOP } from "../syntax/context";
import { type Name, quoteName } from "../syntax/names";
import type { Parser } from "../syntax/parser";
import { type EnumSwap, enumSwapsIn } from "./enum-swap";
import { executeStatement } from "./execute";
import type { Execution } from "./execution";
import type { HeldLock, RuleContext } from "./rule-context";
import { Session } from "./session";
import { controlTransaction } from "./transactions";

const IN_BLOCK = {
  runner: "the transaction that the runner opens around the file",
  explicit: "the transaction that BEGIN opened",
  implicit: "the transaction that the server makes of several statements sent as one string",
} as const;

export interface AnalyzerOptions {
  file: string;
  /** Of the file, counted over the whole check. */
  number: number;
  /** Major version of the server. */
  version?: number;
  /** Path of the file of a number. */
  fileOf: (number: number) => string;
  delivery: Delivery;
  /** A file of statements that ran long ago is applied and not judged. */
  silent?: boolean;
  /** The file begins with BEGIN and ends with COMMIT, as its runner wants it. */
  ownTransaction?: boolean;
}

/** Runs the statements of one file over the catalogue, as its runner would, and judges each before it is applied. */
export class Analyzer implements Execution {
  readonly findings: Finding[] = [];
  readonly session: Session;
  private upcoming: readonly FileStatement[] = [];
  private multiple = false;
  private readonly read = new WeakMap<Pg.Node, readonly Action[]>();

  constructor(
    readonly catalogue: Catalogue,
    readonly parser: Parser,
    private readonly options: AnalyzerOptions,
    nextTransaction: () => number,
    rollsBack: boolean,
  ) {
    this.session = new Session(catalogue, rollsBack, nextTransaction);
  }

  runFile(batches: readonly Batch[]): void {
    const { delivery, ownTransaction } = this.options;
    if (delivery === "transaction" && !ownTransaction) this.session.begin("runner", 0);
    const all = batches.flatMap(({ statements }) => statements);
    let index = 0;
    for (const { statements } of batches) {
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

  execute(node: Pg.Node, at: At, context: CodeContext): void {
    executeStatement(this, node, at, context);
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

  perform(actions: readonly Action[], at: At, context: CodeContext): void {
    // One statement takes the strongest of its locks for all that it does.
    const others = actions.length > 1 ? actions.filter(({ kind }) => kind !== "validate-constraint") : [];
    const before = [...this.session.held];
    if (actions.some(({ kind }) => kind === "validate-constraint")) for (const action of others) this.hold(action, at);
    for (const [index, action] of actions.entries()) this.judge(action, at, context, actions.slice(index + 1));
    this.session.held = before;
    for (const action of actions) this.hold(action, at);
    // PostgreSQL 15 refuses it even where the same transaction made the type.
    for (const action of actions)
      if (action.kind === "enum-value") this.session.enumValues.set(action.value, quoteName(action.name));
  }

  /** Judges one action over the catalogue as it is, and then applies it. */
  judge(action: Action, at: At, context: CodeContext, rest: readonly Action[] = []): void {
    const judges = this.options.silent ? [] : judgesOf(action.kind);
    if (judges.length > 0) {
      const ruleContext = this.ruleContext(at, context, rest, takesAway(action));
      const swapped = ruleContext.swap(action) !== undefined;
      for (const { rule, judge } of judges) {
        // One finding tells of a swap as a whole.
        if (swapped && !rule.judgesSwaps) continue;
        const verdict = judge(action as never, ruleContext);
        if (verdict === undefined) continue;
        if (rule.oncePerFile && this.findings.some((other) => other.rule === rule.id)) continue;
        const { message, fix, locks, level, question, contractable, affects } = verdict;
        this.report({
          rule: rule.id,
          level: level ?? rule.level,
          question: question ?? rule.question,
          message,
          fix,
          locks: locks ?? this.lockLines(action),
          contractable: contractable ?? rule.contractable,
          affects: affects ?? [],
          ...at.place,
        });
      }
    }
    applyDdl(action, {
      catalogue: this.catalogue,
      searchPath: this.session.searchPath,
      createdAt: this.createdAt(context),
      transaction: this.session.transaction,
      certain: !context.conditional,
      gone: (what, createdAt) => this.session.gone(what, createdAt),
      bornAs: (what, createdAt) => this.session.bornAs(what, createdAt),
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

  createdAt(context: CodeContext): number | undefined {
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

  /** @param presumed whether it counts as made here if no earlier file knows it, though IF NOT EXISTS may have found it */
  private isBorn(name: Name, presumed = true): boolean {
    const { relation, certain } = this.catalogue.relation(name, this.session.searchPath);
    if (relation === undefined || !certain) return false;
    const { number } = this.options;
    return relation.createdAt === number || relation.temporary || (presumed && relation.newIn === number);
  }

  actionsOf(node: Pg.Node): readonly Action[] | undefined {
    const before = this.read.get(node);
    if (before) return before;
    const actions = readStatement(node);
    if (actions) this.read.set(node, actions);
    return actions;
  }

  /** Looks for swaps where one may begin: when another enum is made, or one is renamed. */
  private swapOf(
    action: Action,
    context: CodeContext,
    rest: readonly Action[],
    upcoming: readonly FileStatement[],
  ): EnumSwap | undefined {
    const { session } = this;
    const find = () => session.swaps.find(({ actions }) => actions.includes(action));
    const begins = action.kind === "create-type" || action.kind === "rename";
    if (begins && session.block !== undefined && context.inside === undefined && find() === undefined) {
      const all = [action, ...this.following(rest, upcoming)];
      session.swaps = [...session.swaps, ...enumSwapsIn(all, this.catalogue, session.searchPath)];
    }
    return find();
  }

  private following(rest: readonly Action[], upcoming: readonly FileStatement[]): readonly Action[] {
    return this.session.block === undefined ? rest : [...rest, ...this.actionsUntilEnd(upcoming)];
  }

  private actionsUntilEnd(statements: readonly FileStatement[]): Action[] {
    const actions: Action[] = [];
    for (const { node } of statements) {
      const [kind, body] = unwrap(node);
      if (kind === "TransactionStmt" && /COMMIT|ROLLBACK|PREPARE/.test(String(body.kind))) break;
      actions.push(...(this.actionsOf(node) ?? []));
    }
    return actions;
  }

  /**
   * @param rest later actions of the same statement
   * @param strict what may have been there before the file counts as having been there
   */
  ruleContext({ text, indexOf }: At, context: CodeContext, rest: readonly Action[] = [], strict = false): RuleContext {
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
        // The statement may mean another relation, so do not trust what is known of this one.
        resolved: relation && resolved.certain ? { ...resolved, relation } : resolved,
        born: this.isBorn(name, !strict),
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
      following: () => this.following(rest, upcoming),
      resolve: (name) => resolve(name).resolved,
      createdHere: (name) => resolve(name).born,
      isCreatedHere: (createdAt) => createdAt !== undefined && createdAt === this.options.number,
      isNewHere: (column) => column !== undefined && (column.newIn ?? column.createdAt) === this.options.number,
      version: this.options.version,
      droppedHere: (what) => session.isGone(what),
      certain: !context.conditional,
      fileOf: this.options.fileOf,
      swap: (action) => this.swapOf(action, context, rest, upcoming),
    };
  }
}

/** Actions that lose something, or write it anew, where the object was there before. */
const TAKES_AWAY: ReadonlySet<Action["kind"]> = new Set([
  "drop",
  "drop-column",
  "drop-constraint",
  "drop-default",
  "drop-not-null",
  "drop-identity",
  "drop-expression",
  "change-type",
  "set-identity",
  "sequence",
  "call",
  "rename",
  "set-schema",
  "attribute",
  "truncate",
  "rewrite",
  "revoke",
  "owner",
  "row-security",
  "create-policy",
  "alter-policy",
  "trigger-state",
  "create-rule",
  "rule-state",
  "detach-partition",
  "no-inherit",
]);

const takesAway = (action: Action): boolean =>
  TAKES_AWAY.has(action.kind) || (action.kind === "write" && action.verb !== "INSERT" && !action.bounded);

/** Statements after one that are read to see whether they complete it. */
const LOOK_AHEAD = 400;

/** Its place is worked out only where a finding tells it. */
const heldLock = (mode: LockMode, on: Name, at: At): HeldLock => ({
  mode,
  on: quoteName(on),
  get line() {
    return at.place.line;
  },
});

/** Whether anything in the statements takes back what was done. */
export function rollsBack(statements: readonly { node: Pg.Node }[]): boolean {
  return statements.some(({ node }) => {
    const [kind, body] = unwrap(node);
    return kind === "TransactionStmt" && /ROLLBACK/.test(String(body.kind));
  });
}
