import type { A_Expr, Node, PartitionBoundSpec } from "libpg-query";
import { canonical, columnOf, columnsIn, stripCasts } from "../syntax/ast";
import { stringsOf } from "../syntax/names";
import type { Relation } from "./catalogue";

/** The parts of an expression that must all hold. */
export function conjuncts(node: Node): Node[] {
  if ("BoolExpr" in node && node.BoolExpr.boolop === "AND_EXPR") return (node.BoolExpr.args ?? []).flatMap(conjuncts);
  return [node];
}

/** The column of `column IS NOT NULL`, or of `NOT (column IS NULL)`. */
function notNullColumn(node: Node): string | undefined {
  if ("BoolExpr" in node && node.BoolExpr.boolop === "NOT_EXPR") {
    const [inner] = node.BoolExpr.args ?? [];
    return inner && "NullTest" in inner && inner.NullTest.nulltesttype === "IS_NULL"
      ? columnOf(inner.NullTest.arg)
      : undefined;
  }
  if (!("NullTest" in node) || node.NullTest.nulltesttype !== "IS_NOT_NULL") return undefined;
  return columnOf(node.NullTest.arg);
}

/** Whether a validated check shows that a column holds no NULL, so that SET NOT NULL needs no look at the rows. */
export function isProvenNotNull(relation: Relation | undefined, column: string): boolean {
  return validatedConjuncts(relation).some((part) => notNullColumn(part) === column);
}

/** The parts of all checks that every row is known to pass. */
function validatedConjuncts(relation: Relation | undefined): Node[] {
  return [...(relation?.constraints.values() ?? [])].flatMap(({ kind, valid, expression }) =>
    kind === "check" && valid && expression ? conjuncts(expression) : [],
  );
}

/** Whether dropping a check loses nothing: it says no more than that a column, which is NOT NULL, is not NULL. */
export function isRedundantCheck(relation: Relation | undefined, name: string): boolean {
  const fact = relation?.constraints.get(name);
  if (fact?.kind !== "check" || fact.expression === undefined) return false;
  const parts = conjuncts(fact.expression);
  return parts.every((part) => {
    const column = notNullColumn(part);
    return column !== undefined && relation?.columns.get(column)?.notNull === true;
  });
}

const FLIPPED: Record<string, string> = { "<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=" };

interface Comparison {
  column: string;
  operator: string;
  value: string;
}

/**
 * Whether validated checks of a table show that all its rows belong into a partition, so that attaching it needs no look
 * at them. Bounds over one column are compared by their text; what is harder is not tried.
 * @param key the parent's only key column; undefined where the parent is not known
 */
export function isWithinBound(
  relation: Relation | undefined,
  bound: PartitionBoundSpec,
  key: string | undefined,
): boolean {
  if (relation === undefined || bound.is_default) return false;
  const parts = validatedConjuncts(relation);
  const columns = key === undefined ? new Set(parts.flatMap((part) => [...columnsIn(part)])) : new Set([key]);
  return [...columns].some((column) => {
    const present =
      relation.columns.get(column)?.notNull === true || parts.some((part) => notNullColumn(part) === column);
    if (bound.strategy === "r") return present && isWithinRange(parts, column, bound);
    return bound.strategy === "l" && isWithinList(parts, column, bound, present);
  });
}

function isWithinRange(
  parts: readonly Node[],
  column: string,
  { lowerdatums = [], upperdatums = [] }: PartitionBoundSpec,
): boolean {
  const [lower, upper] = [lowerdatums[0], upperdatums[0]];
  if (lowerdatums.length !== 1 || upperdatums.length !== 1 || lower === undefined || upper === undefined) return false;
  const comparisons = parts.flatMap(comparisonsIn).filter((found) => found.column === column);
  // MINVALUE and MAXVALUE look like columns to the parser.
  const isOpen = (datum: Node) => OPEN_ENDS.has(columnOf(datum) ?? "");
  const [from, to] = [valueText(lower), valueText(upper)];
  const above = comparisons.some(({ operator, value }) => {
    const order = compareValues(value, from);
    return order !== undefined && order >= 0 && [">=", ">", "="].includes(operator);
  });
  const below = comparisons.some(({ operator, value }) => {
    const order = compareValues(value, to);
    return (
      order !== undefined && (order < 0 || (order === 0 && operator === "<")) && ["<", "<=", "="].includes(operator)
    );
  });
  return (isOpen(lower) || above) && (isOpen(upper) || below);
}

const ISO_DATE = /^'\d{4}-\d\d-\d\d$/;
const NUMBER = /^:-?\d+(?:\.\d+)?$/;

/** Of a column of numbers, '1' and 1 are the same value. */
const sameValue = (left: string, right: string): boolean => left === right || left.slice(1) === right.slice(1);

/** The order of two values, where no type or collation of the column could make it another. */
function compareValues(left: string, right: string): number | undefined {
  if (sameValue(left, right)) return 0;
  if (NUMBER.test(left) && NUMBER.test(right)) return Number(left.slice(1)) - Number(right.slice(1));
  if (ISO_DATE.test(left) && ISO_DATE.test(right)) return left < right ? -1 : 1;
  return undefined;
}

function isWithinList(
  parts: readonly Node[],
  column: string,
  { listdatums = [] }: PartitionBoundSpec,
  present: boolean,
): boolean {
  const allowed = listdatums.map(valueText);
  const takesNull = allowed.includes(NULL_VALUE);
  return (
    (present || takesNull) &&
    parts.some((part) => {
      const values = valuesOf(part, column);
      return values?.every((value) => allowed.some((other) => sameValue(value, other))) === true;
    })
  );
}

/** The values of `column = x` or `column IN (x, y)`. */
function valuesOf(node: Node, column: string): string[] | undefined {
  if (!("A_Expr" in node) || columnOf(node.A_Expr.lexpr) !== column) return undefined;
  const { kind, rexpr } = node.A_Expr;
  if (operatorOf(node.A_Expr) !== "=" || rexpr === undefined) return undefined;
  if (kind === "AEXPR_OP") return [valueText(rexpr)];
  if (kind === "AEXPR_OP_ANY" && "A_ArrayExpr" in rexpr) return (rexpr.A_ArrayExpr.elements ?? []).map(valueText);
  if (kind === "AEXPR_IN" && "List" in rexpr) return (rexpr.List.items ?? []).map(valueText);
  return undefined;
}

function comparisonsIn(node: Node): Comparison[] {
  if (!("A_Expr" in node)) return [];
  const { kind, lexpr, rexpr } = node.A_Expr;
  if (kind === "AEXPR_BETWEEN" && rexpr && "List" in rexpr) {
    const column = columnOf(lexpr);
    const [low, high] = (rexpr.List.items ?? []).map(valueText);
    if (column === undefined || low === undefined || high === undefined) return [];
    return [
      { column, operator: ">=", value: low },
      { column, operator: "<=", value: high },
    ];
  }
  if (kind !== "AEXPR_OP" || lexpr === undefined || rexpr === undefined) return [];
  const operator = operatorOf(node.A_Expr);
  const flipped = FLIPPED[operator];
  if (flipped === undefined) return [];
  const [left, right] = [columnOf(lexpr), columnOf(rexpr)];
  if (left !== undefined) return [{ column: left, operator, value: valueText(rexpr) }];
  return right === undefined ? [] : [{ column: right, operator: flipped, value: valueText(lexpr) }];
}

const operatorOf = ({ name }: A_Expr): string => stringsOf(name).at(-1) ?? "";

const NULL_VALUE = "null";
const OPEN_ENDS = new Set(["minvalue", "maxvalue"]);

function valueText(node: Node | undefined): string {
  if (node === undefined) return NULL_VALUE;
  const inner = stripCasts(node);
  if ("A_Const" in inner) {
    const { isnull, ival, sval, fval, boolval } = inner.A_Const;
    if (isnull) return NULL_VALUE;
    if (ival) return `:${ival.ival ?? 0}`;
    if (sval) return `'${sval.sval ?? ""}`;
    if (fval) return `:${fval.fval ?? ""}`;
    if (boolval) return `:${boolval.boolval ?? false}`;
  }
  return canonical(inner);
}
