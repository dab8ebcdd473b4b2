import type { Node } from "libpg-query";
import { type Action, type CreateIndex, type CreateRelation, privilegesOf, type TableAction } from "../read/actions";
import { queryColumns } from "../read/query-columns";
import { columnsIn, walk } from "../syntax/ast";
import { derivedName, type Name, nameOfRangeVar } from "../syntax/names";
import { addConstraint, alterTable, columnFact, type DdlContext, ownSequence } from "./apply-table-ddl";
import { forgetColumnsOf, forgetRelation, partsOf } from "./cascade";
import {
  blankRelation,
  type Catalogue,
  type Column,
  type ConstraintFact,
  type FunctionFact,
  keyOf,
  type Relation,
  type Resolved,
} from "./catalogue";

/** Applies an action to the catalogue. Long because it has one short case for each kind of action. */
export function applyDdl(action: Action, context: DdlContext): void {
  const { catalogue, searchPath, createdAt } = context;
  const resolve = (name: Name) => catalogue.relation(name, searchPath);
  switch (action.kind) {
    case "create-relation":
      createRelation(action, context);
      return;
    case "create-index":
      createIndex(action, context);
      return;
    case "drop":
      drop(action, context);
      return;
    case "rename":
      rename(action, context);
      return;
    case "set-schema": {
      if (action.object === "type" || action.object === "domain") {
        const { key, type } = catalogue.type(action.name, searchPath);
        catalogue.types.delete(key);
        if (type) catalogue.types.set(keyOf(action.to, action.name.name), type);
      } else move(resolve(action.name), { schema: action.to }, catalogue);
      return;
    }
    case "create-type": {
      const schema = action.name.schema ?? searchPath[0] ?? "public";
      const { domain, values } = action;
      catalogue.types.set(keyOf(schema, action.name.name), {
        kind: action.type,
        createdAt,
        ...(values && { values }),
        ...(domain && { checked: domain.constrained, base: domain.base }),
      });
      return;
    }
    case "enum-value": {
      const { key, type } = catalogue.type(action.name, searchPath);
      if (type?.values && !type.values.includes(action.value))
        catalogue.types.set(key, { ...type, values: [...type.values, action.value] });
      return;
    }
    case "rename-enum-value": {
      const { key, type } = catalogue.type(action.name, searchPath);
      const values = type?.values?.map((value) => (value === action.from ? action.to : value));
      if (type && values) catalogue.types.set(key, { ...type, values });
      return;
    }
    case "alter-domain": {
      const { key, type } = catalogue.type(action.name, searchPath);
      if (type && (action.change === "add-constraint" || action.change === "set-not-null"))
        catalogue.types.set(key, { ...type, checked: true });
      return;
    }
    case "create-other":
    case "create-policy":
    case "create-rule":
      createOther(action, context);
      return;
    case "create-trigger": {
      const table = resolve(action.table);
      const trigger = `trigger ${table.key} ${action.name}`;
      catalogue.others.set(trigger, context.bornAs(trigger, createdAt));
      const own = catalogue.own(table.key);
      own?.pinned.set(trigger, action.columns);
      if (context.certain) own?.triggers.set(action.name, action.shape);
      else own?.triggers.delete(action.name);
      return;
    }
    case "grant":
      for (const name of action.objects)
        for (const privilege of privilegesOf(action)) catalogue.own(resolve(name).key)?.granted.add(privilege);
      return;
    case "publication":
      catalogue.others.set(`publication ${action.name}`, createdAt);
      return;
    default:
      if ("table" in action && action.table !== undefined) alterTable(action as { table: Name } & TableAction, context);
  }
}

function createRelation(action: CreateRelation, context: DdlContext): void {
  const { catalogue, searchPath } = context;
  const schema = action.name.schema ?? searchPath[0] ?? "public";
  const key = keyOf(schema, action.name.name);
  const before = catalogue.relations.get(key);
  const shown = action.relation === "view" || action.relation === "matview" ? viewColumns(action, context) : undefined;
  if (before && (action.ifNotExists || action.replace)) {
    if (action.replace) {
      pinBy(key, action.query, context);
      const columns = new Map((shown ?? []).map((name) => [name, { name, createdAt: before.createdAt }]));
      catalogue.update(key, () => ({
        columns,
        complete: shown !== undefined,
        ...(action.query && { query: action.query }),
      }));
    }
    return;
  }
  // Whether it was there before is not known, so neither is that this file made it.
  const birth = action.ifNotExists || action.replace ? undefined : context.createdAt;
  // A table, or a materialized view, is filled anew, so that nobody can wait for the rows that it had.
  const createdAt = action.relation === "view" ? context.bornAs(`relation ${key}`, birth) : birth;
  const newIn = action.ifNotExists && !catalogue.isKnown(key) ? context.createdAt : undefined;
  const own = action.temporary ? (context.createdAt ?? createdAt) : createdAt;
  const base: Relation = {
    ...blankRelation({ schema, name: action.name.name }, action.relation),
    createdAt: own,
    ...(newIn !== undefined && { newIn }),
  };
  const columns = new Map<string, Column>();
  const constraints = new Map<string, ConstraintFact>();
  let complete = action.query === undefined || shown !== undefined;
  const inherit = (name: Name) => {
    const parent = catalogue.relation(name, searchPath).relation;
    if (!parent?.complete) complete = false;
    for (const column of parent?.columns.values() ?? []) columns.set(column.name, { ...column, createdAt: own });
    return parent;
  };
  for (const { table } of action.like) inherit(table);
  for (const parent of action.inherits) inherit(parent);
  const parent = action.partitionOf && inherit(action.partitionOf.parent);
  for (const name of shown ?? []) columns.set(name, { name, createdAt: own });
  for (const spec of action.columns) columns.set(spec.name, columnFact(spec, own));
  catalogue.relations.set(key, {
    ...base,
    columns,
    constraints,
    complete,
    ...(action.query && { query: action.query }),
    ...(action.partitionKey && { partitionKey: action.partitionKey }),
    ...(action.partitionOf && { bound: action.partitionOf.bound }),
    ...(action.ownedBy && { owner: catalogue.relation(action.ownedBy, searchPath).key }),
  });
  if (action.partitionOf) {
    const { key: parentKey } = catalogue.relation(action.partitionOf.parent, searchPath);
    catalogue.update(key, () => ({ partitionOf: parentKey }));
    if (parent && action.partitionOf.bound.is_default) catalogue.update(parentKey, () => ({ defaultPartition: key }));
  }
  for (const spec of action.columns) {
    for (const constraint of spec.constraints) addConstraint(key, constraint, { ...context, createdAt: own });
    if (spec.serial || spec.identity) ownSequence(key, spec.name, { ...context, createdAt: own });
  }
  for (const constraint of action.constraints) addConstraint(key, constraint, { ...context, createdAt: own });
  if (action.relation === "view" || action.relation === "matview") pinBy(key, action.query, context);
}

function viewColumns(
  { query, columnNames }: CreateRelation,
  { catalogue, searchPath }: DdlContext,
): string[] | undefined {
  const shown = query && queryColumns(query, (name) => catalogue.columnNames(name, searchPath));
  return shown?.map((column, index) => columnNames[index] ?? column);
}

/** A view holds fast the types of the columns of what it shows; which ones is not looked into. */
function pinBy(holder: string, query: unknown, { catalogue, searchPath }: DdlContext): void {
  const named = columnsIn(query);
  let star = false;
  const tables: string[] = [];
  walk(query, (kind, body) => {
    if (kind === "A_Star") star = true;
    if (kind === "RangeVar") tables.push(catalogue.relation(nameOfRangeVar(body), searchPath).key);
    return undefined;
  });
  for (const table of tables) catalogue.own(table)?.pinned.set(holder, star ? ["*"] : [...named]);
}

function createIndex(action: CreateIndex, { catalogue, searchPath, createdAt }: DdlContext): void {
  const table = catalogue.relation(action.table, searchPath);
  const name = action.name ?? derivedName(action.table.name, ...action.columns, "idx");
  const key = keyOf(table.schema, name);
  if (action.ifNotExists && catalogue.relations.has(key)) return;
  catalogue.relations.set(key, {
    ...blankRelation({ schema: table.schema, name }, "index"),
    createdAt: action.ifNotExists ? undefined : createdAt,
    index: {
      table: table.key,
      unique: action.unique,
      columns: action.columns,
      uses: action.uses,
      partial: action.partial,
      expressions: action.expressions,
      partitioned: table.relation?.partitionKey !== undefined,
    },
  });
}

function createOther(
  action: Extract<Action, { kind: "create-other" | "create-policy" | "create-rule" }>,
  { catalogue, searchPath, createdAt }: DdlContext,
): void {
  if (action.kind === "create-other") {
    const key = `${action.object} ${action.name}`;
    if (action.ifNotExists && catalogue.others.has(key)) return;
    catalogue.others.set(key, action.ifNotExists ? undefined : createdAt);
    return;
  }
  const table = catalogue.relation(action.table, searchPath);
  const holder = `${action.kind === "create-policy" ? "policy" : "rule"} ${table.key} ${action.name}`;
  catalogue.others.set(holder, createdAt);
  // A policy's expressions hold columns fast as a view does.
  catalogue.own(table.key)?.pinned.set(holder, ["*"]);
}

function drop(action: Extract<Action, { kind: "drop" }>, { catalogue, searchPath, gone }: DdlContext): void {
  const { object, name, part } = action;
  if (part !== undefined) {
    const holder = `${object} ${catalogue.relation(name, searchPath).key} ${part}`;
    gone(holder, catalogue.others.get(holder));
    catalogue.others.delete(holder);
    catalogue.unpin(holder);
    if (object === "trigger") catalogue.own(catalogue.relation(name, searchPath).key)?.triggers.delete(part);
    return;
  }
  if (object === "type" || object === "domain") {
    const { key } = catalogue.type(name, searchPath);
    catalogue.types.delete(key);
    if (action.cascade) forgetColumnsOf(catalogue, key, name.name);
    return;
  }
  if (object === "function" || object === "procedure" || object === "routine") {
    for (const schema of name.schema === undefined ? searchPath : [name.schema]) {
      const key = keyOf(schema, name.name);
      const facts = catalogue.functions.get(key) ?? [];
      const isIt = ({ shape }: FunctionFact) => action.signature === undefined || shape.signature === action.signature;
      for (const { shape, createdAt } of facts.filter(isIt)) gone(`routine ${key} ${shape.signature}`, createdAt);
      const others = facts.filter((fact) => !isIt(fact));
      if (others.length > 0) catalogue.functions.set(key, others);
      else catalogue.functions.delete(key);
    }
    return;
  }
  if (/table|view|sequence|index/.test(object)) {
    const { key, relation } = catalogue.relation(name, searchPath);
    gone(`relation ${key}`, relation?.createdAt);
    forgetRelation(catalogue, key, action.cascade);
    return;
  }
  if (object === "schema") {
    for (const facts of [catalogue.relations, catalogue.types, catalogue.functions])
      for (const key of facts.keys()) if (key.startsWith(keyOf(name.name, ""))) facts.delete(key);
  }
  catalogue.others.delete(`${object} ${name.name}`);
}

function rename(action: Extract<Action, { kind: "rename" }>, { catalogue, searchPath }: DdlContext): void {
  const { object, name, part, to } = action;
  if (object.startsWith("column of")) {
    const { key } = catalogue.relation(name, searchPath);
    catalogue.update(key, (relation) => renamedColumn(relation, part ?? "", to));
    const swap = (column: string) => (column === part ? to : column);
    for (const [other, { index }] of catalogue.indexesOf(key))
      catalogue.update(other, () => ({
        index: { ...index, columns: index.columns.map(swap), uses: index.uses.map(swap) },
      }));
    return;
  }
  if (object === "constraint") {
    const { key, schema } = catalogue.relation(name, searchPath);
    const constraints = catalogue.own(key)?.constraints;
    const fact = constraints?.get(part ?? "");
    constraints?.delete(part ?? "");
    if (fact) constraints?.set(to, { ...fact, name: to });
    const index = catalogue.relations.get(keyOf(schema, part ?? ""));
    if (index?.index?.constraint !== undefined)
      move({ key: keyOf(schema, part ?? ""), relation: index }, { name: to }, catalogue);
    return;
  }
  if (object === "type" || object === "domain") {
    const { key, type } = catalogue.type(name, searchPath);
    catalogue.types.delete(key);
    if (type) catalogue.types.set(keyOf(key.split("\u001f")[0] ?? "public", to), type);
    return;
  }
  if (part !== undefined) {
    const { key } = catalogue.relation(name, searchPath);
    const createdAt = catalogue.others.get(`${object} ${key} ${part}`);
    catalogue.others.delete(`${object} ${key} ${part}`);
    catalogue.others.set(`${object} ${key} ${to}`, createdAt);
    const triggers = object === "trigger" ? catalogue.own(key)?.triggers : undefined;
    const shape = triggers?.get(part);
    triggers?.delete(part);
    if (shape) triggers?.set(to, shape);
    return;
  }
  if (/table|view|sequence|index/.test(object)) move(catalogue.relation(name, searchPath), { name: to }, catalogue);
  else if (object === "function" || object === "procedure" || object === "routine") {
    const schema = name.schema ?? searchPath[0] ?? "public";
    const facts = catalogue.functions.get(keyOf(schema, name.name));
    catalogue.functions.delete(keyOf(schema, name.name));
    if (facts) catalogue.functions.set(keyOf(schema, to), facts);
  } else if (object === "schema") {
    for (const relation of [...catalogue.relations.values()])
      if (relation.schema === name.name)
        move({ key: keyOf(name.name, relation.name), relation }, { schema: to }, catalogue);
    const createdAt = catalogue.others.get(`schema ${name.name}`);
    catalogue.others.delete(`schema ${name.name}`);
    catalogue.others.set(`schema ${to}`, createdAt);
  }
}

/** Gives a relation another name or schema; what points to it follows. */
function move(
  { key, relation }: Pick<Resolved, "key" | "relation">,
  to: { schema?: string; name?: string },
  catalogue: Catalogue,
): void {
  if (relation === undefined) return;
  const next = { ...relation, ...to };
  const nextKey = keyOf(next.schema, next.name);
  catalogue.relations.delete(key);
  catalogue.relations.set(nextKey, next);
  for (const part of partsOf(catalogue, key)) {
    catalogue.others.set(part.replace(key, nextKey), catalogue.others.get(part));
    catalogue.others.delete(part);
  }
  for (const [other, { index, owner, partitionOf, defaultPartition }] of catalogue.relations)
    if (index?.table === key || owner === key || partitionOf === key || defaultPartition === key)
      catalogue.update(other, () => ({
        ...(index?.table === key && { index: { ...index, table: nextKey } }),
        ...(owner === key && { owner: nextKey }),
        ...(partitionOf === key && { partitionOf: nextKey }),
        ...(defaultPartition === key && { defaultPartition: nextKey }),
      }));
}

function renamedColumn({ columns, constraints, pinned }: Relation, from: string, to: string): Partial<Relation> {
  const swap = (name: string) => (name === from ? to : name);
  const next = new Map([...columns].map(([name, column]) => [swap(name), { ...column, name: swap(name) }]));
  return {
    columns: next,
    constraints: new Map(
      [...constraints].map(([name, fact]) => [
        name,
        {
          ...fact,
          columns: fact.columns.map(swap),
          ...(fact.expression && { expression: renamedIn(fact.expression, from, to) }),
        },
      ]),
    ),
    pinned: new Map([...pinned].map(([holder, names]) => [holder, names.map(swap)])),
  };
}

function renamedIn(expression: Node, from: string, to: string): Node {
  const copy = structuredClone(expression);
  walk(copy, (kind, body) => {
    const last =
      kind === "ColumnRef" ? (body.fields as { String?: { sval?: string } }[] | undefined)?.at(-1)?.String : undefined;
    if (last?.sval === from) last.sval = to;
    return undefined;
  });
  return copy;
}
