import type * as Pg from "libpg-query";
import { columnsIn, optionsOf } from "../syntax/ast";
import { type Name, nameOfParts, nameOfRangeVar, stringsOf } from "../syntax/names";
import { rangeVars } from "../syntax/objects";
import { type ColumnSpec, type ConstraintSpec, columnSpec, constraintSpec, partitionKey } from "../syntax/specs";
import type { Action, CreateIndex, CreateRelation } from "./actions";

const NOTHING: Omit<CreateRelation, "relation" | "name" | "temporary"> = {
  kind: "create-relation",
  ifNotExists: false,
  replace: false,
  columns: [],
  constraints: [],
  like: [],
  inherits: [],
  columnNames: [],
};

const isTemporary = (relation: Pg.RangeVar | undefined): boolean =>
  relation?.relpersistence === "t" || relation?.schemaname?.startsWith("pg_temp") === true;

/** Temporary ones live in a schema of their own, however they are written. */
function placed(relation: Pg.RangeVar | undefined): { name: Name; temporary: boolean } {
  const name = nameOfRangeVar(relation ?? {});
  return isTemporary(relation)
    ? { name: { schema: "pg_temp", name: name.name }, temporary: true }
    : { name, temporary: false };
}

export function readCreateTable(body: Pg.CreateStmt): Action[] {
  const columns: ColumnSpec[] = [];
  const constraints: ConstraintSpec[] = [];
  const like: { table: Name; options: number }[] = [];
  for (const node of body.tableElts ?? []) {
    if ("ColumnDef" in node) columns.push(columnSpec(node.ColumnDef));
    else if ("Constraint" in node) {
      const spec = constraintSpec(node.Constraint);
      if (spec) constraints.push(spec);
    } else if ("TableLikeClause" in node)
      like.push({
        table: nameOfRangeVar(node.TableLikeClause.relation ?? {}),
        options: node.TableLikeClause.options ?? 0,
      });
  }
  const parents = rangeVars(body.inhRelations);
  const [parent] = parents;
  return [
    {
      ...NOTHING,
      relation: "table",
      ...placed(body.relation),
      ifNotExists: body.if_not_exists === true,
      columns,
      constraints,
      like,
      inherits: body.partbound ? [] : parents,
      ...(body.partbound && parent && { partitionOf: { parent, bound: body.partbound } }),
      ...(body.partspec && { partitionKey: partitionKey(body.partspec) }),
    },
  ];
}

export function readCreateForeignTable(body: Pg.CreateForeignTableStmt): Action[] {
  const [table] = readCreateTable(body.base ?? {});
  return table ? [{ ...(table as CreateRelation), relation: "foreign-table" }] : [];
}

export function readTableAs({ into, query, objtype, if_not_exists }: Pg.CreateTableAsStmt): Action[] {
  const materialized = objtype === "OBJECT_MATVIEW";
  return [
    {
      ...NOTHING,
      relation: materialized ? "matview" : "table",
      ...placed(into?.rel),
      ifNotExists: if_not_exists === true,
      columnNames: stringsOf(into?.colNames),
      ...(query && "SelectStmt" in query && { query: query.SelectStmt }),
      ...(into?.skipData && { empty: true }),
    },
  ];
}

/** `SELECT ... INTO t`, which makes a table as CREATE TABLE AS does. */
export function readSelectInto(select: Pg.SelectStmt): Action[] {
  return select.intoClause ? [{ ...NOTHING, relation: "table", ...placed(select.intoClause.rel), query: select }] : [];
}

export function readView({ view, query, replace, aliases }: Pg.ViewStmt): Action[] {
  return [
    {
      ...NOTHING,
      relation: "view",
      ...placed(view),
      replace: replace === true,
      columnNames: stringsOf(aliases),
      ...(query && "SelectStmt" in query && { query: query.SelectStmt }),
    },
  ];
}

export function readSequence({ sequence, if_not_exists, options }: Pg.CreateSeqStmt): Action[] {
  const owner = optionsOf(options).get("owned_by")?.arg;
  const parts = owner && "List" in owner ? stringsOf(owner.List.items) : [];
  return [
    {
      ...NOTHING,
      relation: "sequence",
      ...placed(sequence),
      ifNotExists: if_not_exists === true,
      ...(parts.length > 1 && { ownedBy: nameOfParts(parts.slice(0, -1)) }),
    },
  ];
}

export function readIndex(body: Pg.IndexStmt): Action[] {
  const elements = (body.indexParams ?? []).flatMap((node) => ("IndexElem" in node ? [node.IndexElem] : []));
  const index: CreateIndex = {
    kind: "create-index",
    table: nameOfRangeVar(body.relation ?? {}),
    ...(body.idxname !== undefined && { name: body.idxname }),
    unique: body.unique === true,
    concurrently: body.concurrent === true,
    ifNotExists: body.if_not_exists === true,
    only: body.relation?.inh !== true,
    columns: elements.flatMap(({ name }) => (name === undefined ? [] : [name])),
    uses: [
      ...elements.flatMap(({ name }) => (name === undefined ? [] : [name])),
      ...columnsIn([body.indexParams, body.indexIncludingParams, body.whereClause]),
    ],
    partial: body.whereClause !== undefined,
    expressions: elements.some(({ expr }) => expr !== undefined),
  };
  return [
    ...(index.concurrently ? [{ kind: "outside-transaction", what: "CREATE INDEX CONCURRENTLY" } as const] : []),
    index,
  ];
}
