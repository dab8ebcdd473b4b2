import type { FuncCall, MergeStmt, Node, RangeVar, SelectStmt, TypeName } from "libpg-query";
import type { Relation } from "../catalogue/catalogue";
import { conjuncts } from "../catalogue/proofs";
import type { RuleContext } from "../run/rule-context";
import { columnOf, stripCasts, unwrap, walk } from "../syntax/ast";
import { type Name, nameOfParts, nameOfRangeVar, stringsOf } from "../syntax/names";
import { isBuiltin, typeOf } from "../syntax/types";
import type { Action, WriteVerb } from "./actions";
import { isSmall, namesIn, restricts, type WriteScope } from "./bounds";
import { readSelectInto } from "./read-create";

/** What writes have that say no more of their rows. */
export const WRITE = { kind: "write", single: false, sets: [], joined: [] } as const;

/** Of pg_catalog, but only to be read. */
const CATALOGUE_TABLE = /^(?:pg_|sql_)/;

/** Tables of PostgreSQL itself are small. */
const isSystem = ({ schema, name }: Name): boolean =>
  schema === "pg_catalog" || schema === "information_schema" || (schema === undefined && CATALOGUE_TABLE.test(name));

/** Actions of a statement that reads or writes data, anywhere in it: in CTEs, subqueries and calls. */
export function readData(node: Node, context: RuleContext, enumValues: ReadonlyMap<string, string>): Action[] {
  const actions: Action[] = [];
  const own = commonTables(node);
  walk(node, (kind, body) => {
    switch (kind) {
      case "UpdateStmt":
      case "DeleteStmt":
        actions.push(...writeOf(kind === "UpdateStmt" ? "UPDATE" : "DELETE", body, context, own));
        break;
      case "MergeStmt":
        actions.push(...mergeOf(body as MergeStmt, context, own));
        break;
      case "InsertStmt":
        actions.push(...insertOf(body, context, own));
        break;
      case "SelectStmt":
      case "larg":
        if (body.intoClause) {
          actions.push(...readSelectInto(body as SelectStmt));
          if (readsLarge(body as SelectStmt, context, own)) actions.push({ kind: "long-read", what: "SELECT INTO" });
        }
        break;
      case "FuncCall":
      case "funccall":
        actions.push({
          kind: "call",
          function: nameOfParts(stringsOf((body as FuncCall).funcname)),
          arguments: (body as FuncCall).args ?? [],
          // Called for what it does, not to compute a value that is stored.
          standalone: "SelectStmt" in node || "CallStmt" in node,
        });
        break;
    }
    return undefined;
  });
  return enumValues.size === 0 ? actions : [...literalsIn(node, enumValues), ...actions];
}

/** Literals that are new values of enums. */
export function literalsIn(node: Node, enumValues: ReadonlyMap<string, string>): Action[] {
  const found: Action[] = [];
  walk(node, (kind, body) => {
    // A text that stays one, as a default of a text column does, is no value of an enum.
    if ((kind === "ColumnDef" || kind === "TypeCast") && isBuiltin(typeOf(body.typeName as TypeName | undefined)))
      return false;
    const text = kind === "A_Const" ? (body.sval as { sval?: string } | undefined)?.sval : undefined;
    const type = text === undefined ? undefined : enumValues.get(text);
    if (text !== undefined && type !== undefined) found.push({ kind: "new-enum-value", value: text, type });
    return undefined;
  });
  return found;
}

function commonTables(node: Node): Map<string, SelectStmt | undefined> {
  const found = new Map<string, SelectStmt | undefined>();
  walk(node, (kind, body) => {
    if (kind !== "CommonTableExpr") return undefined;
    const [inner, query] = unwrap((body.ctequery ?? {}) as Node);
    found.set((body.ctename as string | undefined) ?? "", inner === "SelectStmt" ? (query as SelectStmt) : undefined);
    return undefined;
  });
  return found;
}

function isLargeIn(context: RuleContext, own: ReadonlyMap<string, SelectStmt | undefined>): (node: Node) => boolean {
  const isLarge = (node: Node): boolean => {
    const [kind, body] = unwrap(node);
    switch (kind) {
      case "RangeVar": {
        const name = nameOfRangeVar(body as RangeVar);
        if (name.schema === undefined && own.has(name.name)) {
          const query = own.get(name.name);
          // A write in a CTE returns no more than it wrote, which is judged by itself.
          if (query === undefined) return false;
          const others = new Map(own);
          others.delete(name.name);
          return !isSmall(query, { isLarge: isLargeIn(context, others) });
        }
        return !isSystem(name) && !context.createdHere(name);
      }
      case "JoinExpr":
        return [body.larg, body.rarg].some((side) => side !== undefined && isLarge(side as Node));
      case "RangeSubselect": {
        const [, query] = unwrap((body.subquery ?? {}) as Node);
        return !isSmall(query as SelectStmt, { isLarge });
      }
      case "RangeTableSample":
        return true;
      default:
        return false;
    }
  };
  return isLarge;
}

function scopeOf(
  target: RangeVar,
  from: readonly Node[],
  context: RuleContext,
  own: ReadonlyMap<string, SelectStmt | undefined>,
): WriteScope {
  const name = nameOfRangeVar(target);
  const relation = context.resolve(name).relation;
  const isLarge = isLargeIn(context, own);
  return {
    target: relation,
    table: name.name,
    names: new Set(target.alias?.aliasname === undefined ? [name.name] : [target.alias.aliasname]),
    unbounded: new Set(from.filter(isLarge).flatMap(namesIn)),
    isLarge,
  };
}

function writeOf(
  verb: WriteVerb,
  body: Record<string, unknown>,
  context: RuleContext,
  own: ReadonlyMap<string, SelectStmt | undefined>,
): Action[] {
  const target = (body.relation ?? {}) as RangeVar;
  const from = (body.fromClause ?? body.usingClause ?? []) as Node[];
  const scope = scopeOf(target, from, context, own);
  const where = body.whereClause as Node | undefined;
  const table = nameOfRangeVar(target);
  const bounded = restricts(where, scope) || boundedByJoin(from, scope);
  return [
    ...systemWrite(table, context),
    {
      kind: "write",
      verb,
      table,
      bounded,
      single: isSingleRow(where, scope.target),
      many: !isSystem(table),
      sets: verb === "UPDATE" ? setColumns(body.targetList as Node[] | undefined) : [],
      joined: from.flatMap(namesIn),
    },
  ];
}

const setColumns = (targets: readonly Node[] | undefined): string[] =>
  (targets ?? []).flatMap((node) => ("ResTarget" in node ? [node.ResTarget.name ?? ""] : []));

/** Joined with few rows, under a condition that some join needs anyway. */
function boundedByJoin(from: readonly Node[], scope: WriteScope): boolean {
  return from.some((node) => {
    const [kind, body] = unwrap(node);
    return kind === "JoinExpr" && scope.unbounded.size > 0 && restricts(body.quals as Node | undefined, scope);
  });
}

function mergeOf(merge: MergeStmt, context: RuleContext, own: ReadonlyMap<string, SelectStmt | undefined>): Action[] {
  const { relation = {}, sourceRelation, joinCondition, mergeWhenClauses = [] } = merge;
  const from = sourceRelation ? [sourceRelation] : [];
  const scope = scopeOf(relation, from, context, own);
  const table = nameOfRangeVar(relation);
  const clauses = mergeWhenClauses.flatMap((node) => ("MergeWhenClause" in node ? [node.MergeWhenClause] : []));
  const changing = clauses.filter(({ commandType }) => commandType === "CMD_UPDATE" || commandType === "CMD_DELETE");
  const joined = restricts(joinCondition, scope);
  const bounded = changing.every(
    ({ condition, matchKind }) =>
      restricts(condition, scope) || (joined && matchKind !== "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"),
  );
  return [...systemWrite(table, context), { ...WRITE, verb: "MERGE", table, bounded, many: true }];
}

function insertOf(
  body: Record<string, unknown>,
  context: RuleContext,
  own: ReadonlyMap<string, SelectStmt | undefined>,
): Action[] {
  const table = nameOfRangeVar((body.relation ?? {}) as RangeVar);
  const [, select] = unwrap((body.selectStmt ?? {}) as Node);
  const many = body.selectStmt !== undefined && readsLarge(select as SelectStmt, context, own);
  return [...systemWrite(table, context), { ...WRITE, verb: "INSERT", table, bounded: true, many }];
}

/** Whether it reads tables that were there before, other than for a few rows by a limit. */
export function readsLarge(
  query: SelectStmt,
  context: RuleContext,
  own: ReadonlyMap<string, SelectStmt | undefined> = new Map(),
): boolean {
  if (query.larg && query.rarg) return readsLarge(query.larg, context, own) || readsLarge(query.rarg, context, own);
  const isLarge = isLargeIn(context, own);
  return query.limitCount === undefined && (query.fromClause ?? []).some(isLarge);
}

/** Whether a query goes through a table that was there before, for all that its text tells. */
export function scans(node: Node, context: RuleContext): boolean {
  if (!("SelectStmt" in node) || node.SelectStmt.intoClause) return false;
  const query = node.SelectStmt;
  if (!readsLarge(query, context, commonTables(node))) return false;
  const [only, ...others] = query.fromClause ?? [];
  if (only === undefined || others.length > 0 || !("RangeVar" in only)) return true;
  return !isSingleRow(query.whereClause, context.resolve(nameOfRangeVar(only.RangeVar)).relation);
}

/** `key = value` on a column that is known to be unique. */
function isSingleRow(where: Node | undefined, target: Relation | undefined): boolean {
  if (where === undefined || target === undefined) return false;
  const fixed = new Set(
    conjuncts(where).flatMap((part) => {
      if (!("A_Expr" in part) || part.A_Expr.kind !== "AEXPR_OP") return [];
      const { name, lexpr, rexpr } = part.A_Expr;
      if (stringsOf(name).at(-1) !== "=" || rexpr === undefined) return [];
      const column = columnOf(lexpr);
      const value = stripCasts(rexpr);
      return column !== undefined && ("A_Const" in value || "ParamRef" in value) ? [column] : [];
    }),
  );
  return [...target.constraints.values()].some(
    ({ kind, columns }) =>
      (kind === "primary" || kind === "unique") && columns.length > 0 && columns.every((column) => fixed.has(column)),
  );
}

/** Writing to PostgreSQL's own tables changes the schema in ways that no statement of it shows. */
function systemWrite({ schema, name }: Name, context: RuleContext): Action[] {
  const system =
    schema === "pg_catalog" || (schema === undefined && CATALOGUE_TABLE.test(name) && !context.createdHere({ name }));
  return system
    ? [
        {
          kind: "uninspectable",
          what: `it writes to the system catalogue ${name}, which changes the schema behind PostgreSQL's back`,
          fix: "Use the statement of data definition that does it.",
        },
      ]
    : [];
}
