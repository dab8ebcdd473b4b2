import type { Node } from "libpg-query";
import type { Action, CreateIndex, CreateRelation, TableAction } from "./actions";
import { columnsIn, walk } from "./ast";
import {
  type Birth,
  blankRelation,
  type Catalogue,
  type Column,
  type ConstraintFact,
  keyOf,
  type Relation,
  type Resolved,
} from "./catalogue";
import { derivedName, type Name, nameOfRangeVar } from "./names";
import type { ColumnSpec, ConstraintSpec } from "./specs";

export interface FoldContext {
  catalogue: Catalogue;
  searchPath: readonly string[];
  /** Undefined where it may not happen at all, as inside of an IF: such things are not known to be born here. */
  birth: Birth;
  transaction: number;
  /** What may not happen must not be counted on. */
  certain: boolean;
}

/** What the database looks like after an action. */
export function fold(action: Action, context: FoldContext): void {
  const { catalogue, searchPath, birth } = context;
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
      const { domain } = action;
      catalogue.types.set(keyOf(schema, action.name.name), {
        kind: action.type,
        birth,
        transaction: context.transaction,
        ...(domain && { checked: domain.constrained, base: domain.base }),
      });
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
      catalogue.others.set(`trigger ${table.key} ${action.name}`, birth);
      catalogue.update(table.key, ({ pinned }) => ({ pinned: new Set([...pinned, ...action.columns]) }));
      return;
    }
    case "grant":
      for (const name of action.objects)
        catalogue.update(resolve(name).key, ({ granted }) => ({
          granted: new Set([...granted, ...action.privileges]),
        }));
      return;
    case "publication":
      catalogue.others.set(`publication ${action.name}`, birth);
      return;
    default:
      if ("table" in action && action.table !== undefined) alterTable(action as { table: Name } & TableAction, context);
  }
}

function createRelation(action: CreateRelation, context: FoldContext): void {
  const { catalogue, searchPath } = context;
  const schema = action.name.schema ?? searchPath[0] ?? "public";
  const key = keyOf(schema, action.name.name);
  const before = catalogue.relations.get(key);
  if (before && (action.ifNotExists || action.replace)) {
    if (action.replace) pinBy(action.query, context);
    return;
  }
  // Whether it was there before is not known, so neither is that this file made it.
  const birth = action.ifNotExists || action.replace ? undefined : context.birth;
  const own = action.temporary ? (context.birth ?? birth) : birth;
  const base: Relation = { ...blankRelation({ schema, name: action.name.name }, action.relation), birth: own };
  const columns = new Map<string, Column>();
  const constraints = new Map<string, ConstraintFact>();
  let complete = action.query === undefined;
  const inherit = (name: Name) => {
    const parent = catalogue.relation(name, searchPath).relation;
    if (!parent?.complete) complete = false;
    for (const column of parent?.columns.values() ?? []) columns.set(column.name, { ...column, birth: own });
    return parent;
  };
  for (const { table } of action.like) inherit(table);
  for (const parent of action.inherits) inherit(parent);
  const parent = action.partitionOf && inherit(action.partitionOf.parent);
  for (const spec of action.columns) columns.set(spec.name, columnFact(spec, own));
  catalogue.relations.set(key, {
    ...base,
    columns,
    constraints,
    complete,
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
    for (const constraint of spec.constraints) addConstraint(key, constraint, { ...context, birth: own });
    if (spec.serial) ownSequence(key, spec.name, { ...context, birth: own });
  }
  for (const constraint of action.constraints) addConstraint(key, constraint, { ...context, birth: own });
  if (action.relation === "view" || action.relation === "matview") pinBy(action.query, context);
}

function columnFact(spec: ColumnSpec, birth: Birth): Column {
  const generated = spec.identity ?? (spec.generated ? "stored" : undefined);
  return {
    name: spec.name,
    type: spec.type,
    notNull: spec.notNull,
    hasDefault: spec.default !== undefined || spec.serial,
    ...(spec.default && { default: spec.default }),
    ...(generated && { generated }),
    birth,
  };
}

function ownSequence(table: string, column: string, { catalogue, birth }: FoldContext): void {
  const relation = catalogue.relations.get(table);
  if (relation === undefined) return;
  const name = derivedName(relation.name, column, "seq");
  const { schema } = relation;
  catalogue.relations.set(keyOf(schema, name), { ...blankRelation({ schema, name }, "sequence"), birth, owner: table });
}

/** A view holds fast the types of the columns of what it shows; which ones is not looked into. */
function pinBy(query: unknown, { catalogue, searchPath }: FoldContext): void {
  const named = columnsIn(query);
  let star = false;
  const tables: string[] = [];
  walk(query, (kind, body) => {
    if (kind === "A_Star") star = true;
    if (kind === "RangeVar") tables.push(catalogue.relation(nameOfRangeVar(body), searchPath).key);
    return undefined;
  });
  for (const table of tables)
    catalogue.update(table, ({ pinned }) => ({ pinned: new Set([...pinned, ...(star ? ["*"] : []), ...named]) }));
}

/** The name that PostgreSQL gives a constraint that has none. */
export function constraintName(
  table: string,
  { kind, columns, name, usingIndex }: ConstraintSpec,
  taken: ReadonlyMap<string, unknown>,
): string {
  if (name !== undefined) return name;
  if (usingIndex !== undefined) return usingIndex;
  const inner = kind === "check" && columns.length !== 1 ? [] : columns;
  const parts = {
    primary: [table, "pkey"],
    unique: [table, ...inner, "key"],
    foreign: [table, ...inner, "fkey"],
    check: [table, ...inner, "check"],
    exclude: [table, ...inner, "excl"],
    "not-null": [table, ...inner, "not_null"],
  }[kind];
  const plain = derivedName(...parts);
  let chosen = plain;
  for (let number = 1; taken.has(chosen); number++) chosen = `${plain}${number}`;
  return chosen;
}

function addConstraint(key: string, spec: ConstraintSpec, context: FoldContext): void {
  const { catalogue, searchPath, birth, transaction } = context;
  const relation = catalogue.relations.get(key);
  if (relation === undefined) return;
  const name = constraintName(relation.name, spec, relation.constraints);
  const index = spec.usingIndex === undefined ? undefined : keyOf(relation.schema, spec.usingIndex);
  const columns = index === undefined ? spec.columns : (catalogue.relations.get(index)?.index?.columns ?? []);
  const fact: ConstraintFact = {
    kind: spec.kind,
    name,
    columns,
    valid: !spec.notValid && !spec.notEnforced && context.certain,
    birth,
    transaction,
    ...(spec.expression && { expression: spec.expression }),
    ...(spec.references && { references: catalogue.relation(spec.references.table, searchPath).key }),
  };
  catalogue.update(key, ({ constraints, columns: known }) => ({
    constraints: new Map(constraints).set(name, fact),
    ...(spec.kind === "primary" && context.certain && { columns: withNotNull(known, columns) }),
  }));
  if (spec.kind !== "unique" && spec.kind !== "primary") return;
  if (index !== undefined) catalogue.relations.delete(index);
  const { schema } = relation;
  catalogue.relations.set(keyOf(schema, name), {
    ...blankRelation({ schema, name }, "index"),
    birth,
    index: {
      table: key,
      unique: true,
      columns,
      uses: columns,
      partial: false,
      expressions: false,
      partitioned: relation.partitionKey !== undefined,
      constraint: name,
    },
  });
}

function withNotNull(known: ReadonlyMap<string, Column>, names: readonly string[]): Map<string, Column> {
  const columns = new Map(known);
  for (const name of names) {
    const column = columns.get(name);
    if (column) columns.set(name, { ...column, notNull: true });
  }
  return columns;
}

function createIndex(action: CreateIndex, { catalogue, searchPath, birth }: FoldContext): void {
  const table = catalogue.relation(action.table, searchPath);
  const name = action.name ?? derivedName(action.table.name, ...action.columns, "idx");
  const key = keyOf(table.schema, name);
  if (action.ifNotExists && catalogue.relations.has(key)) return;
  catalogue.relations.set(key, {
    ...blankRelation({ schema: table.schema, name }, "index"),
    birth: action.ifNotExists ? undefined : birth,
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
  { catalogue, searchPath, birth }: FoldContext,
): void {
  if (action.kind === "create-other") {
    const key = `${action.object} ${action.name}`;
    if (action.ifNotExists && catalogue.others.has(key)) return;
    catalogue.others.set(key, action.ifNotExists ? undefined : birth);
    return;
  }
  const table = catalogue.relation(action.table, searchPath);
  catalogue.others.set(`${action.kind === "create-policy" ? "policy" : "rule"} ${table.key} ${action.name}`, birth);
  // A policy's expressions hold columns fast as a view does.
  catalogue.update(table.key, ({ pinned }) => ({ pinned: new Set([...pinned, "*"]) }));
}

function drop(action: Extract<Action, { kind: "drop" }>, { catalogue, searchPath }: FoldContext): void {
  const { object, name, part } = action;
  if (part !== undefined) {
    catalogue.others.delete(`${object} ${catalogue.relation(name, searchPath).key} ${part}`);
    return;
  }
  if (object === "type" || object === "domain") {
    catalogue.types.delete(catalogue.type(name, searchPath).key);
    return;
  }
  if (object === "function" || object === "procedure" || object === "routine") {
    for (const schema of name.schema === undefined ? searchPath : [name.schema])
      catalogue.functions.delete(keyOf(schema, name.name));
    return;
  }
  if (/table|view|sequence|index/.test(object)) {
    const { key } = catalogue.relation(name, searchPath);
    for (const [index] of catalogue.indexesOf(key)) catalogue.relations.delete(index);
    for (const [other, { owner }] of catalogue.relations) if (owner === key) catalogue.relations.delete(other);
    catalogue.relations.delete(key);
    return;
  }
  if (object === "schema") {
    for (const facts of [catalogue.relations, catalogue.types, catalogue.functions])
      for (const key of facts.keys()) if (key.startsWith(keyOf(name.name, ""))) facts.delete(key);
  }
  catalogue.others.delete(`${object} ${name.name}`);
}

function rename(action: Extract<Action, { kind: "rename" }>, { catalogue, searchPath }: FoldContext): void {
  const { object, name, part, to } = action;
  if (object.startsWith("column of")) {
    const { key } = catalogue.relation(name, searchPath);
    catalogue.update(key, (relation) => renamedColumn(relation, part ?? "", to));
    return;
  }
  if (object === "constraint") {
    const { key, schema } = catalogue.relation(name, searchPath);
    catalogue.update(key, ({ constraints }) => {
      const fact = constraints.get(part ?? "");
      const next = new Map(constraints);
      next.delete(part ?? "");
      return { constraints: fact ? next.set(to, { ...fact, name: to }) : next };
    });
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
    const birth = catalogue.others.get(`${object} ${key} ${part}`);
    catalogue.others.delete(`${object} ${key} ${part}`);
    catalogue.others.set(`${object} ${key} ${to}`, birth);
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
    const birth = catalogue.others.get(`schema ${name.name}`);
    catalogue.others.delete(`schema ${name.name}`);
    catalogue.others.set(`schema ${to}`, birth);
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
    pinned: new Set([...pinned].map(swap)),
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

function alterTable(action: { table: Name } & TableAction, context: FoldContext): void {
  const { catalogue, searchPath, birth } = context;
  const resolved = catalogue.relation(action.table, searchPath);
  const { key } = resolved;
  const set = (name: string, change: Partial<Column>) => {
    catalogue.ensure(resolved);
    catalogue.update(key, ({ columns }) => {
      const column = columns.get(name) ?? { name, birth: undefined };
      return { columns: new Map(columns).set(name, { ...column, ...change }) };
    });
  };
  switch (action.kind) {
    case "add-column": {
      const { column, ifNotExists } = action;
      catalogue.ensure(resolved);
      if (ifNotExists && resolved.relation?.columns.has(column.name)) return;
      catalogue.update(key, ({ columns }) => ({
        columns: new Map(columns).set(column.name, columnFact(column, ifNotExists ? undefined : birth)),
      }));
      for (const constraint of column.constraints) addConstraint(key, constraint, context);
      if (column.serial) ownSequence(key, column.name, context);
      return;
    }
    case "drop-column":
      catalogue.update(key, ({ columns, constraints }) => {
        const left = new Map(columns);
        left.delete(action.column);
        const kept = [...constraints].filter(([, fact]) => !fact.columns.includes(action.column));
        return { columns: left, constraints: new Map(kept) };
      });
      for (const [index, relation] of catalogue.indexesOf(key))
        if (relation.index.uses.includes(action.column)) catalogue.relations.delete(index);
      return;
    case "set-default":
      set(action.column, { hasDefault: true, default: action.value });
      return;
    case "drop-default":
      set(action.column, { hasDefault: false });
      return;
    case "set-not-null":
      if (context.certain) set(action.column, { notNull: true });
      return;
    case "drop-not-null":
      set(action.column, { notNull: false });
      return;
    case "change-type":
      set(action.column, { type: action.type });
      return;
    case "add-constraint":
      catalogue.ensure(resolved);
      addConstraint(key, action.constraint, context);
      return;
    case "validate-constraint":
      if (!context.certain) return;
      catalogue.update(key, ({ constraints }) => {
        const fact = constraints.get(action.name);
        return fact ? { constraints: new Map(constraints).set(action.name, { ...fact, valid: true }) } : {};
      });
      return;
    case "drop-constraint": {
      catalogue.update(key, ({ constraints }) => {
        const left = new Map(constraints);
        left.delete(action.name);
        return { constraints: left };
      });
      const index = keyOf(resolved.schema, action.name);
      if (catalogue.relations.get(index)?.index?.constraint !== undefined) catalogue.relations.delete(index);
      return;
    }
    case "add-identity":
      set(action.column, { generated: action.always ? "always" : "by-default" });
      return;
    case "set-identity":
      if (action.always !== undefined) set(action.column, { generated: action.always ? "always" : "by-default" });
      return;
    case "drop-identity":
    case "drop-expression":
      catalogue.update(key, ({ columns }) => {
        const column = columns.get(action.column);
        if (column === undefined) return {};
        const { generated: _, ...plain } = column;
        return { columns: new Map(columns).set(action.column, plain) };
      });
      return;
    case "replica-identity":
      catalogue.ensure(resolved);
      catalogue.update(key, () => ({ replicaIdentity: action.to }));
      return;
    case "attach-partition": {
      const partition = catalogue.relation(action.partition, searchPath);
      catalogue.update(partition.key, () => ({ partitionOf: key, bound: action.bound }));
      if (action.bound.is_default) catalogue.update(key, () => ({ defaultPartition: partition.key }));
      return;
    }
    case "detach-partition": {
      const partition = catalogue.relation(action.partition, searchPath);
      const detached = catalogue.relations.get(partition.key);
      if (detached) {
        const { partitionOf: _, bound: __, ...alone } = detached;
        catalogue.relations.set(partition.key, alone);
      }
      const parent = catalogue.relations.get(key);
      if (parent?.defaultPartition === partition.key) {
        const { defaultPartition: _, ...rest } = parent;
        catalogue.relations.set(key, rest);
      }
      return;
    }
    default:
  }
}
