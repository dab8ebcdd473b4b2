import type * as Pg from "libpg-query";
import { columnOf, unwrap } from "../syntax/ast";
import { type Name, nameOfRangeVar, stringsOf } from "../syntax/names";

/** Columns of a relation in their order; undefined where they are not all known. */
export type ColumnsOf = (name: Name) => readonly string[] | undefined;

type Columns = readonly string[] | undefined;

/** Names of the columns that a query gives, in their order; undefined where what it reads is not all known. */
export function queryColumns(query: Pg.SelectStmt, columnsOf: ColumnsOf): Columns {
  const common = new Map<string, Columns>();
  const lookUp: ColumnsOf = (name) =>
    name.schema === undefined && common.has(name.name) ? common.get(name.name) : columnsOf(name);
  for (const node of query.withClause?.ctes ?? []) {
    if (!("CommonTableExpr" in node)) continue;
    const { ctename = "", ctequery, aliascolnames } = node.CommonTableExpr;
    const [kind, body] = unwrap(ctequery ?? { A_Star: {} });
    const inner = kind === "SelectStmt" ? queryColumns(body as Pg.SelectStmt, lookUp) : undefined;
    common.set(ctename, renamed(inner, aliascolnames));
  }
  if (query.larg) return queryColumns(query.larg, lookUp);
  const [row] = query.valuesLists ?? [];
  if (row) return "List" in row ? (row.List.items ?? []).map((_, index) => `column${index + 1}`) : undefined;
  return flat((query.targetList ?? []).map((target) => targetColumns(target, query.fromClause ?? [], lookUp)));
}

function targetColumns(target: Pg.Node, from: readonly Pg.Node[], lookUp: ColumnsOf): Columns {
  if (!("ResTarget" in target) || target.ResTarget.val === undefined) return undefined;
  const { name, val } = target.ResTarget;
  if (name !== undefined) return [name];
  const fields = "ColumnRef" in val ? (val.ColumnRef.fields ?? []) : [];
  const last = fields.at(-1);
  if (last === undefined || !("A_Star" in last)) return [columnName(val).name];
  const qualifier = stringsOf(fields).at(-1);
  const sources = from.flatMap((node) => sourcesIn(node, lookUp));
  return flat(
    sources.filter((source) => qualifier === undefined || source.name === qualifier).map(({ columns }) => columns),
  );
}

interface Source {
  /** By which its columns are qualified; undefined for a join that merges columns. */
  name: string | undefined;
  columns: Columns;
}

function sourcesIn(node: Pg.Node, lookUp: ColumnsOf): Source[] {
  const [kind, body] = unwrap(node);
  const alias = body.alias as Pg.Alias | undefined;
  if (kind === "JoinExpr") {
    const { larg, rarg, usingClause, isNatural } = body as Pg.JoinExpr;
    const sides = [larg, rarg].flatMap((side) => (side ? sourcesIn(side, lookUp) : []));
    // Merged columns come once, and before all others.
    const merged = stringsOf(usingClause);
    if (isNatural || alias) return [{ name: alias?.aliasname, columns: undefined }];
    if (merged.length === 0) return sides;
    const all = flat(sides.map(({ columns }) => columns));
    return [{ name: undefined, columns: all && [...merged, ...all.filter((column) => !merged.includes(column))] }];
  }
  if (kind === "RangeVar") {
    const name = nameOfRangeVar(body as Pg.RangeVar);
    return [{ name: alias?.aliasname ?? name.name, columns: renamed(lookUp(name), alias?.colnames) }];
  }
  if (kind === "RangeSubselect") {
    const [, query] = unwrap((body.subquery ?? {}) as Pg.Node);
    return [
      { name: alias?.aliasname, columns: renamed(queryColumns(query as Pg.SelectStmt, lookUp), alias?.colnames) },
    ];
  }
  return [{ name: alias?.aliasname, columns: undefined }];
}

function renamed(columns: Columns, names: readonly Pg.Node[] | undefined): Columns {
  const given = stringsOf(names);
  return columns?.map((column, index) => given[index] ?? column);
}

const flat = (parts: readonly Columns[]): Columns =>
  parts.every((part) => part !== undefined) ? parts.flatMap((part) => part ?? []) : undefined;

interface Named {
  name: string;
  /** Whether a cast around it leaves it its name. */
  strong: boolean;
}

const UNNAMED: Named = { name: "?column?", strong: false };
const strong = (name: string): Named => ({ name, strong: true });
const BY_KIND: Readonly<Record<string, string>> = {
  CoalesceExpr: "coalesce",
  A_ArrayExpr: "array",
  RowExpr: "row",
  GroupingFunc: "grouping",
  XmlSerialize: "xmlserialize",
};
const SUBQUERIES: Readonly<Record<string, string>> = { EXISTS_SUBLINK: "exists", ARRAY_SUBLINK: "array" };

/** The name that PostgreSQL gives a column without one. @see FigureColnameInternal */
function columnName(node: Pg.Node): Named {
  const [kind, body] = unwrap(node);
  const fixed = BY_KIND[kind];
  if (fixed !== undefined) return strong(fixed);
  switch (kind) {
    case "ColumnRef":
      return strong(columnOf(node) ?? UNNAMED.name);
    case "A_Indirection": {
      const field = stringsOf(body.indirection as Pg.Node[]).at(-1);
      return field === undefined ? columnName(body.arg as Pg.Node) : strong(field);
    }
    case "FuncCall":
      return strong(stringsOf(body.funcname as Pg.Node[]).at(-1) ?? "");
    case "SQLValueFunction":
      return strong(
        String(body.op)
          .replace(/^SVFOP_|_N$/g, "")
          .toLowerCase(),
      );
    case "MinMaxExpr":
      return strong(body.op === "IS_LEAST" ? "least" : "greatest");
    case "A_Expr":
      return body.kind === "AEXPR_NULLIF" ? strong("nullif") : UNNAMED;
    case "CollateClause":
      return columnName(body.arg as Pg.Node);
    case "TypeCast": {
      const inner = columnName(body.arg as Pg.Node);
      return inner.strong
        ? inner
        : { name: stringsOf((body.typeName as Pg.TypeName).names).at(-1) ?? "", strong: false };
    }
    case "CaseExpr": {
      const otherwise = body.defresult === undefined ? UNNAMED : columnName(body.defresult as Pg.Node);
      return otherwise.strong ? otherwise : { name: "case", strong: false };
    }
    case "SubLink": {
      const name = SUBQUERIES[String(body.subLinkType)];
      if (name !== undefined) return strong(name);
      const [, select] = unwrap((body.subselect ?? {}) as Pg.Node);
      const [first] = (select.targetList ?? []) as Pg.Node[];
      if (body.subLinkType !== "EXPR_SUBLINK" || !first || !("ResTarget" in first)) return UNNAMED;
      const { name: given, val } = first.ResTarget;
      return given === undefined ? (val ? columnName(val) : UNNAMED) : strong(given);
    }
    default:
      return UNNAMED;
  }
}
