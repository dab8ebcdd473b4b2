import type { TableAction } from "../read/actions";
import { derivedName, type Name } from "../syntax/names";
import type { ColumnSpec, ConstraintSpec } from "../syntax/specs";
import { forgetDependents } from "./cascade";
import {
  blankRelation,
  type Catalogue,
  type Column,
  type ConstraintFact,
  type CreatedAt,
  keyOf,
  type OwnRelation,
} from "./catalogue";

export interface DdlContext {
  catalogue: Catalogue;
  searchPath: readonly string[];
  /** Undefined where it may not happen at all, as inside of an IF: such objects are not known to be created here. */
  createdAt: CreatedAt;
  transaction: number;
  /** Do not rely on a statement that may not run. */
  certain: boolean;
  /** Notes what is dropped, and tells the birth of what is made: what comes back is as old as it was. */
  gone(what: string, createdAt: CreatedAt): void;
  bornAs(what: string, createdAt: CreatedAt): CreatedAt;
}

export function columnFact(spec: ColumnSpec, createdAt: CreatedAt): Column {
  const generated = spec.identity ?? (spec.generated ? "stored" : undefined);
  return {
    name: spec.name,
    type: spec.type,
    notNull: spec.notNull,
    hasDefault: spec.default !== undefined || spec.serial,
    ...(spec.default && { default: spec.default }),
    ...(generated && { generated }),
    ...(spec.generatedFrom && { from: spec.generatedFrom }),
    createdAt,
  };
}

export function ownSequence(table: string, column: string, { catalogue, createdAt }: DdlContext): void {
  const relation = catalogue.relations.get(table);
  if (relation === undefined) return;
  const name = derivedName(relation.name, column, "seq");
  const { schema } = relation;
  catalogue.relations.set(keyOf(schema, name), {
    ...blankRelation({ schema, name }, "sequence"),
    createdAt,
    owner: table,
  });
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

export function addConstraint(key: string, spec: ConstraintSpec, context: DdlContext): void {
  const { catalogue, searchPath, createdAt, transaction } = context;
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
    createdAt: context.bornAs(`constraint ${key} ${name}`, createdAt),
    transaction,
    spec,
    ...(spec.expression && { expression: spec.expression }),
    ...(spec.references && {
      references: catalogue.relation(spec.references.table, searchPath).key,
      onDelete: spec.references.onDelete,
    }),
  };
  const own = catalogue.own(key);
  own?.constraints.set(name, fact);
  if (own && spec.kind === "primary" && context.certain) setNotNull(own, columns);
  if (spec.kind !== "unique" && spec.kind !== "primary") return;
  if (index !== undefined) catalogue.relations.delete(index);
  const { schema } = relation;
  catalogue.relations.set(keyOf(schema, name), {
    ...blankRelation({ schema, name }, "index"),
    createdAt,
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

function setNotNull({ columns }: OwnRelation, names: readonly string[]): void {
  for (const name of names) {
    const column = columns.get(name);
    if (column) columns.set(name, { ...column, notNull: true });
  }
}

/** Applies one part of an ALTER TABLE to a table. Long because it has one short case for each kind of part. */
export function alterTable(action: { table: Name } & TableAction, context: DdlContext): void {
  const { catalogue, searchPath, createdAt } = context;
  const resolved = catalogue.relation(action.table, searchPath);
  const { key } = resolved;
  const set = (name: string, change: Partial<Column>) => {
    catalogue.ensure(resolved);
    const columns = catalogue.own(key)?.columns;
    columns?.set(name, { ...(columns.get(name) ?? { name, createdAt: undefined }), ...change });
  };
  switch (action.kind) {
    case "add-column": {
      const { column, ifNotExists } = action;
      catalogue.ensure(resolved);
      if (ifNotExists && resolved.relation?.columns.has(column.name)) return;
      catalogue.own(key)?.columns.set(column.name, {
        ...columnFact(column, ifNotExists ? undefined : createdAt),
        ...(ifNotExists && createdAt !== undefined && { newIn: createdAt }),
      });
      for (const constraint of column.constraints) addConstraint(key, constraint, context);
      if (column.serial || column.identity) ownSequence(key, column.name, context);
      return;
    }
    case "drop-column": {
      if (action.cascade) forgetDependents(catalogue, key, action.column);
      const own = catalogue.own(key);
      own?.columns.delete(action.column);
      for (const [name, fact] of own?.constraints ?? [])
        if (fact.columns.includes(action.column)) own?.constraints.delete(name);
      for (const [index, relation] of catalogue.indexesOf(key))
        if (relation.index.uses.includes(action.column)) catalogue.relations.delete(index);
      return;
    }
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
    case "validate-constraint": {
      const constraints = context.certain ? catalogue.own(key)?.constraints : undefined;
      const fact = constraints?.get(action.name);
      if (fact) constraints?.set(action.name, { ...fact, valid: true });
      const own = fact?.kind === "not-null" ? catalogue.own(key) : undefined;
      if (own) setNotNull(own, fact?.columns ?? []);
      return;
    }
    case "drop-constraint": {
      context.gone(`constraint ${key} ${action.name}`, resolved.relation?.constraints.get(action.name)?.createdAt);
      catalogue.own(key)?.constraints.delete(action.name);
      const index = keyOf(resolved.schema, action.name);
      if (catalogue.relations.get(index)?.index?.constraint !== undefined) catalogue.relations.delete(index);
      return;
    }
    case "add-identity":
      set(action.column, { generated: action.always ? "always" : "by-default" });
      ownSequence(key, action.column, context);
      return;
    case "set-identity":
      if (action.always !== undefined) set(action.column, { generated: action.always ? "always" : "by-default" });
      return;
    case "drop-identity":
    case "drop-expression": {
      const columns = catalogue.own(key)?.columns;
      const column = columns?.get(action.column);
      if (column === undefined) return;
      const { generated: _, ...plain } = column;
      columns?.set(action.column, plain);
      return;
    }
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
