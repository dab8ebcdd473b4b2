import type { A_Expr, Node, SelectStmt } from "libpg-query";
import type { Relation } from "../catalogue/catalogue";
import { canonical, columnOf, constantOf, stripCasts, unwrap, walk } from "../syntax/ast";
import { stringsOf } from "../syntax/names";

/** Context for telling whether a condition leaves rows out. */
export interface WriteScope {
  /** Facts on the table that is written. */
  target: Relation | undefined;
  /** The table's own name, without its schema. */
  table: string | undefined;
  /** By which its columns are qualified. */
  names: ReadonlySet<string>;
  /** Other tables of the statement that may hold as many rows as the target, by alias or name. */
  unbounded: ReadonlySet<string>;
  /** Whether a table of the FROM list of a subquery may hold any number of rows. */
  isLarge(node: Node): boolean;
}

const NOW = new Set(["now", "current_timestamp", "statement_timestamp", "transaction_timestamp", "clock_timestamp"]);

/**
 * Whether a condition leaves rows of the target out, as far as can be told without its rows. Conditions that hold for
 * every row (`1 = 1`, `id = id`, `id IS NOT NULL`, a join that only finds each row's counterpart) don't.
 */
export function restricts(node: Node | undefined, scope: WriteScope): boolean {
  if (node === undefined) return false;
  const [kind, body] = unwrap(node);
  switch (kind) {
    case "BoolExpr": {
      const args = (body.args ?? []) as Node[];
      if (body.boolop === "AND_EXPR") return args.some((arg) => restricts(arg, scope));
      if (body.boolop === "OR_EXPR") return args.every((arg) => restricts(arg, scope));
      return restrictsNegated(args[0], scope);
    }
    case "A_Const":
      return constantTruth(node) !== true;
    case "NullTest": {
      const column = columnOf(body.arg as Node);
      if (column === undefined) return columnsOf(node, scope).own;
      if (body.nulltesttype === "IS_NULL") return true;
      // Of a column that may be NOT NULL, it holds for every row.
      return scope.target?.columns.get(column)?.notNull === false;
    }
    case "SubLink":
      return subqueryRestricts(body, scope);
    case "A_Expr":
      return comparisonRestricts(node as { A_Expr: A_Expr }, scope);
    case "CurrentOfExpr":
    case "ParamRef":
      return true;
    case "TypeCast":
      return restricts(body.arg as Node, scope);
    default:
      return columnsOf(node, scope).own;
  }
}

function restrictsNegated(node: Node | undefined, scope: WriteScope): boolean {
  if (node === undefined) return false;
  const truth = constantTruth(node);
  if (truth !== undefined) return truth !== false;
  const [kind, body] = unwrap(node);
  // A condition with a subquery restricts the rows: it has no counterpart elsewhere.
  if (kind === "SubLink") return true;
  if (kind === "BoolExpr" && body.boolop === "NOT_EXPR")
    return restricts((body.args as Node[] | undefined)?.[0], scope);
  if (kind === "NullTest" && body.nulltesttype === "IS_NULL") {
    const column = columnOf(body.arg as Node);
    return column !== undefined && scope.target?.columns.get(column)?.notNull === false;
  }
  return columnsOf(node, scope).own;
}

function comparisonRestricts(node: { A_Expr: A_Expr }, scope: WriteScope): boolean {
  const { kind, lexpr, rexpr } = node.A_Expr;
  const truth = constantTruth(node);
  if (truth !== undefined) return truth !== true;
  if (lexpr && rexpr && isSame(lexpr, rexpr, scope)) return false;
  const { own, foreign, any } = columnsOf(node, scope);
  const sublink = subqueryIn(node);
  if (!any && sublink === undefined) return false;
  // `= ANY (ARRAY(SELECT ...))` is IN in another form.
  if (kind === "AEXPR_OP_ANY" && sublink?.subLinkType === "ARRAY_SUBLINK")
    return subqueryRestricts({ ...sublink, subLinkType: "ANY_SUBLINK" }, scope);
  // A join finds each row's counterpart; that alone leaves none out.
  if (own && foreign && sublink === undefined) return false;
  const operator = stringsOf(node.A_Expr.name).at(-1) ?? "";
  if (kind === "AEXPR_LIKE" || kind === "AEXPR_ILIKE") return !isEveryPattern(rexpr);
  const column = columnOf(lexpr);
  if (column !== undefined && rexpr) return !holdsForAll(column, operator, rexpr, scope);
  return true;
}

/** The same column, or the same expression, on both sides. */
function isSame(left: Node, right: Node, { names }: WriteScope): boolean {
  const [a, b] = [stripCasts(left), stripCasts(right)];
  if (!("ColumnRef" in a) || !("ColumnRef" in b)) return canonical(a) === canonical(b);
  const [one, other] = [stringsOf(a.ColumnRef.fields), stringsOf(b.ColumnRef.fields)];
  const own = [one, other].every((parts) => parts.length < 2 || names.has(parts.at(-2) ?? ""));
  return one.at(-1) === other.at(-1) && (own || one.join(".") === other.join("."));
}

/** `id > 0`, `created_at <= now()` and the like. */
function holdsForAll(column: string, operator: string, value: Node, { target }: WriteScope): boolean {
  const inner = stripCasts(value);
  if ("FuncCall" in inner || "SQLValueFunction" in inner) {
    const name = "FuncCall" in inner ? stringsOf(inner.FuncCall.funcname).at(-1) : "current_timestamp";
    return (operator === "<" || operator === "<=") && NOW.has(name ?? "");
  }
  if (!("A_Const" in inner)) return false;
  const isKey = column === "id" || isPrimaryKey(target, column);
  const text = constantOf(inner.A_Const) ?? "";
  if (!isKey) return false;
  return (
    [">", ">=", "<>", "!="].includes(operator) &&
    ["-1", "0", "1", ""].includes(text) &&
    !(operator === ">" && text === "1")
  );
}

const isPrimaryKey = (target: Relation | undefined, column: string): boolean =>
  [...(target?.constraints.values() ?? [])].some(({ kind, columns }) => kind === "primary" && columns.includes(column));

const isEveryPattern = (pattern: Node | undefined): boolean =>
  pattern !== undefined && "A_Const" in pattern && /^%*$/.test(constantOf(pattern.A_Const) ?? "-");

function subqueryRestricts(body: Record<string, unknown>, scope: WriteScope): boolean {
  const [, select] = unwrap((body.subselect ?? {}) as Node);
  const query = select as SelectStmt;
  const from = query.fromClause ?? [];
  if (body.subLinkType === "EXISTS_SUBLINK") {
    if (from.length === 0) return restricts(query.whereClause, scope);
    // How many rows it finds is of no matter, so neither is a limit; that it looks for this row's own ones is.
    if (query.whereClause === undefined) return false;
    return (
      !from.some((node) => isTarget(node, scope)) || restrictsWithin(query.whereClause, new Set(from.flatMap(namesIn)))
    );
  }
  // A value that is a condition by itself is the same for every row.
  if (body.testexpr === undefined && body.subLinkType === "EXPR_SUBLINK") return false;
  // One value, or all of them, that the target is compared with; or those that another table lists.
  return body.subLinkType !== "ANY_SUBLINK" || !from.some((node) => isTarget(node, scope)) || isSmall(query, scope);
}

/** Whether a subquery reads the very table that is written, wherever in it. */
function isTarget(node: Node, { table }: WriteScope): boolean {
  let found = false;
  walk(node, (kind, body) => {
    if (kind === "RangeVar" && body.relname === table) found = true;
    return undefined;
  });
  return found;
}

function subqueryIn(node: Node): Record<string, unknown> | undefined {
  let found: Record<string, unknown> | undefined;
  walk(node, (kind, body) => {
    if (kind === "SubLink") found ??= body;
    return found === undefined ? undefined : false;
  });
  return found;
}

/** Whether a query gives only some rows of what it reads. */
export function isSmall(query: SelectStmt, scope: Pick<WriteScope, "isLarge">): boolean {
  if (query.limitCount !== undefined && constantTruth(query.limitCount) !== null) return true;
  if (query.valuesLists !== undefined) return true;
  if (query.larg && query.rarg) return isSmall(query.larg, scope) && isSmall(query.rarg, scope);
  const from = query.fromClause ?? [];
  const large = from.filter((node) => scope.isLarge(node));
  if (large.length === 0) return true;
  if (query.havingClause !== undefined) return true;
  const names = new Set(large.flatMap(namesIn));
  // Columns of tables outside of the subquery are the target's: comparing with them is the join itself.
  return restrictsWithin(query.whereClause, names);
}

function restrictsWithin(where: Node | undefined, names: ReadonlySet<string>): boolean {
  return restricts(where, {
    target: undefined,
    table: undefined,
    names,
    unbounded: new Set(["*"]),
    isLarge: () => true,
  });
}

/** How the tables of a FROM list are called. */
export function namesIn(node: Node): string[] {
  const [kind, body] = unwrap(node);
  const alias = (body.alias as { aliasname?: string } | undefined)?.aliasname;
  if (kind === "JoinExpr") return [body.larg, body.rarg].flatMap((side) => (side ? namesIn(side as Node) : []));
  if (alias !== undefined) return [alias];
  return kind === "RangeVar" ? [(body.relname as string | undefined) ?? ""] : [];
}

interface Columns {
  any: boolean;
  /** Of the target. */
  own: boolean;
  /** Of another table that is as large as it may be. */
  foreign: boolean;
}

function columnsOf(node: Node, { names, unbounded }: WriteScope): Columns {
  const found: Columns = { any: false, own: false, foreign: false };
  walk(node, (kind, body) => {
    if (kind === "SubLink") return false;
    if (kind !== "ColumnRef") return undefined;
    const parts = stringsOf(body.fields as Node[]);
    const qualifier = parts.length > 1 ? (parts.at(-2) ?? "") : undefined;
    found.any = true;
    if (qualifier === undefined || names.has(qualifier)) found.own = true;
    else if (unbounded.has(qualifier) || unbounded.has("*")) found.foreign = true;
    return undefined;
  });
  return found;
}

/** Truth of an expression of constants alone; undefined if it is not one, or too hard to tell. */
function constantTruth(node: Node): boolean | null | undefined {
  const inner = stripCasts(node);
  if ("A_Const" in inner) {
    const { isnull, boolval } = inner.A_Const;
    if (isnull) return null;
    if (boolval) return boolval.boolval === true;
    const text = (constantOf(inner.A_Const) ?? "").toLowerCase();
    if (["t", "true", "yes", "on", "1"].includes(text)) return true;
    if (["f", "false", "no", "off", "0"].includes(text)) return false;
    return undefined;
  }
  if ("BoolExpr" in inner) {
    const values = (inner.BoolExpr.args ?? []).map(constantTruth);
    if (values.includes(undefined)) return undefined;
    if (inner.BoolExpr.boolop === "NOT_EXPR") return values[0] === null ? null : !values[0];
    return inner.BoolExpr.boolop === "AND_EXPR" ? values.every(Boolean) : values.some(Boolean);
  }
  if (!("A_Expr" in inner)) return undefined;
  const { lexpr, rexpr, name } = inner.A_Expr;
  if (inner.A_Expr.kind !== "AEXPR_OP" || lexpr === undefined || rexpr === undefined) return undefined;
  const [left, right] = [stripCasts(lexpr), stripCasts(rexpr)];
  if (!("A_Const" in left) || !("A_Const" in right)) return undefined;
  return compareConstants(constantOf(left.A_Const), stringsOf(name).at(-1) ?? "", constantOf(right.A_Const));
}

function compareConstants(left: string | null, operator: string, right: string | null): boolean | null | undefined {
  if (left === null || right === null) return null;
  const numeric = left !== "" && right !== "" && Number.isFinite(Number(left)) && Number.isFinite(Number(right));
  const [a, b]: [string | number, string | number] = numeric ? [Number(left), Number(right)] : [left, right];
  switch (operator) {
    case "=":
      return a === b;
    case "<>":
    case "!=":
      return a !== b;
    case "<":
      return numeric ? a < b : undefined;
    case ">":
      return numeric ? a > b : undefined;
    case "<=":
      return numeric ? a <= b : undefined;
    case ">=":
      return numeric ? a >= b : undefined;
    default:
      return undefined;
  }
}
