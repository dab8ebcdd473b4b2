import type { Node, SelectStmt } from "libpg-query";
import type { RoutineShape } from "../read/routine";
import { extensionFunction } from "../syntax/extensions";
import type { Name } from "../syntax/names";
import type { ConstraintSpec, DeleteAction, PartitionBound, PartitionKey, TriggerShape } from "../syntax/specs";
import type { TypeRef } from "../syntax/types";

/** The number of the file that made something; undefined where that can't be said for sure. */
export type CreatedAt = number | undefined;

export interface Column {
  name: string;
  type?: TypeRef;
  /** Undefined: unknown. */
  notNull?: boolean;
  hasDefault?: boolean;
  /** Of its default, where that is a known expression. */
  default?: Node;
  /** `stored` is computed from other columns. */
  generated?: "always" | "by-default" | "stored";
  createdAt: CreatedAt;
  /** File that adds it, unless IF NOT EXISTS finds it there, though no earlier file knows it. */
  newIn?: number;
  /** Of a generated one: the columns that it is computed from. */
  from?: readonly string[];
}

export interface ConstraintFact {
  kind: "check" | "unique" | "primary" | "foreign" | "exclude" | "not-null";
  name: string;
  columns: readonly string[];
  expression?: Node;
  valid: boolean;
  createdAt: CreatedAt;
  /** The transaction that added it. */
  transaction: number;
  references?: string;
  onDelete?: DeleteAction;
  /** As it was written; its names may have been changed since. */
  spec: ConstraintSpec;
}

export interface IndexFact {
  /** Key of its table. */
  table: string;
  unique: boolean;
  /** Of an index over columns alone. */
  columns: readonly string[];
  /** All that it depends on. */
  uses: readonly string[];
  partial: boolean;
  expressions: boolean;
  /** On the partitioned table itself, or its partitions' part of one. */
  partitioned: boolean;
  constraint?: string;
}

export type RelationKind = "table" | "view" | "matview" | "sequence" | "index" | "foreign-table" | "composite";

export interface Relation {
  readonly kind: RelationKind;
  readonly schema: string;
  readonly name: string;
  readonly createdAt: CreatedAt;
  /** File that makes it, unless IF NOT EXISTS finds it there, though no earlier file knows it. */
  readonly newIn?: number;
  readonly temporary: boolean;
  /** Its columns and constraints are all known. */
  readonly complete: boolean;
  /** Only `own` gives one whose collections may be changed. */
  readonly columns: ReadonlyMap<string, Column>;
  readonly constraints: ReadonlyMap<string, ConstraintFact>;
  readonly index?: IndexFact;
  readonly partitionKey?: PartitionKey;
  /** Keys of its partitions, with the default one apart. */
  readonly defaultPartition?: string;
  readonly partitionOf?: string;
  readonly bound?: PartitionBound;
  /** Columns whose type a view, policy or trigger holds fast, by what holds them; `*` is all of them. */
  readonly pinned: ReadonlyMap<string, readonly string[]>;
  readonly replicaIdentity?: "default" | "full" | "nothing" | "index";
  /** Of a view: the query that it shows. */
  readonly query?: SelectStmt;
  /** Privileges that statements granted on it, each with who has it. */
  readonly granted: ReadonlySet<string>;
  /** Its triggers, by their names, as far as they are known for sure. */
  readonly triggers: ReadonlyMap<string, TriggerShape>;
  /** Of a sequence: the key of the table that owns it. */
  readonly owner?: string;
  /** Of the catalogue when its collections were last copied. */
  readonly generation: number;
}

/** A relation whose collections nobody else sees. */
export interface OwnRelation extends Relation {
  readonly columns: Map<string, Column>;
  readonly constraints: Map<string, ConstraintFact>;
  readonly pinned: Map<string, readonly string[]>;
  readonly granted: Set<string>;
  readonly triggers: Map<string, TriggerShape>;
}

export interface TypeFact {
  kind: "enum" | "domain" | "composite" | "range" | "base";
  createdAt: CreatedAt;
  /** Of a domain: whether it, or what it is over, checks its values. */
  checked?: boolean;
  base?: TypeRef;
  /** Of an enum whose values are all known. */
  values?: readonly string[];
}

export interface FunctionFact {
  createdAt: CreatedAt;
  shape: RoutineShape;
  procedure: boolean;
  volatility: "immutable" | "stable" | "volatile";
  language: string;
  /** The whole statement that made it, for the parser of its body. */
  statement: string;
  body?: string;
  /** Of a SQL function written with BEGIN ATOMIC or RETURN. */
  parsed?: readonly Node[];
  /** Its own, where it sets one. */
  searchPath?: readonly string[];
}

const SEPARATOR = "\u001f";
export const keyOf = (schema: string, name: string): string => `${schema}${SEPARATOR}${name}`;
const TEMPORARY_SCHEMA = "pg_temp";

export interface Resolved {
  key: string;
  schema: string;
  name: string;
  /** Undefined where nothing is known of it. */
  relation?: Relation;
  /** No other object can be meant: a schema that comes earlier in the search path can't hold one of this name. */
  certain: boolean;
}

let generations = 0;

/** Knowledge of the database at one moment. A copy is shallow: what is shared is copied before it is changed. */
export class Catalogue {
  readonly relations: Map<string, Relation>;
  readonly types: Map<string, TypeFact>;
  readonly functions: Map<string, readonly FunctionFact[]>;
  /** Births of everything else, such as `schema app` or `trigger public.t name`. */
  readonly others: Map<string, CreatedAt>;
  /** A schema file lists everything there is. */
  whole = false;
  private generation = ++generations;

  constructor(from?: Catalogue) {
    if (from) from.generation = ++generations;
    this.relations = new Map(from?.relations);
    this.types = new Map(from?.types);
    this.functions = new Map(from?.functions);
    this.others = new Map(from?.others);
    this.whole = from?.whole ?? false;
  }

  /** Everything as it is in another one. */
  become(other: Catalogue): void {
    for (const part of ["relations", "types", "functions", "others"] as const) {
      const mine: Map<string, unknown> = this[part];
      mine.clear();
      for (const [key, value] of other[part]) mine.set(key, value);
    }
    this.whole = other.whole;
    this.generation = ++generations;
  }

  relation(name: Name, searchPath: readonly string[]): Resolved {
    const { key, schema, certain, value } = find(this, this.relations, name, searchPath);
    const resolved = { key, schema, name: name.name, certain };
    return value === undefined ? resolved : { ...resolved, relation: value };
  }

  /** How a function of an extension that these files create behaves; it may lie in any schema. */
  extensionFunction(name: Name): "steady" | "volatile" | undefined {
    return extensionFunction(name.name, (extension) => this.others.has(`extension ${extension}`));
  }

  /** Undefined where they are not all known. */
  columnNames(name: Name, searchPath: readonly string[]): readonly string[] | undefined {
    const { relation, certain } = this.relation(name, searchPath);
    return relation?.complete && certain ? [...relation.columns.keys()] : undefined;
  }

  type(name: Name, searchPath: readonly string[]): { key: string; type?: TypeFact; certain: boolean } {
    const { key, value, certain } = find(this, this.types, name, searchPath);
    return value === undefined ? { key, certain } : { key, certain, type: value };
  }

  functionsNamed(name: Name, searchPath: readonly string[]): readonly FunctionFact[] {
    return find(this, this.functions, name, searchPath).value ?? [];
  }

  /** @returns the relation as it is now; undefined where nothing is known of it, and then nothing changes */
  update(key: string, change: (relation: Relation) => Partial<Relation>): Relation | undefined {
    const relation = this.relations.get(key);
    if (relation === undefined) return undefined;
    const next = { ...relation, ...change(relation) };
    this.relations.set(key, next);
    return next;
  }

  /** The relation with collections that may be changed: many statements about a large table must not copy it each time. */
  own(key: string): OwnRelation | undefined {
    const relation = this.relations.get(key);
    if (relation === undefined || relation.generation === this.generation) return relation as OwnRelation | undefined;
    const { columns, constraints, pinned, granted, triggers } = relation;
    const own: OwnRelation = {
      ...relation,
      columns: new Map(columns),
      constraints: new Map(constraints),
      pinned: new Map(pinned),
      granted: new Set(granted),
      triggers: new Map(triggers),
      generation: this.generation,
    };
    this.relations.set(key, own);
    return own;
  }

  /** Makes room for facts about a relation that was not heard of before. */
  ensure(resolved: Resolved, kind: RelationKind = "table"): void {
    if (!this.relations.has(resolved.key)) this.relations.set(resolved.key, blankRelation(resolved, kind));
  }

  /** Whether any earlier statement spoke of a relation, so that it may have been there before the files. */
  isKnown(key: string): boolean {
    if (this.relations.has(key)) return true;
    for (const { index, partitionOf, constraints } of this.relations.values()) {
      if (index?.table === key || partitionOf === key) return true;
      for (const { references } of constraints.values()) if (references === key) return true;
    }
    return false;
  }

  /** Releases the types of columns that a dropped object depended on. */
  unpin(holder: string): void {
    for (const [key, { pinned }] of this.relations) if (pinned.has(holder)) this.own(key)?.pinned.delete(holder);
  }

  indexesOf(table: string): [key: string, relation: Relation & { index: IndexFact }][] {
    const found: [string, Relation & { index: IndexFact }][] = [];
    for (const [key, relation] of this.relations)
      if (relation.index?.table === table) found.push([key, relation as Relation & { index: IndexFact }]);
    return found;
  }
}

interface Found<Fact> {
  key: string;
  schema: string;
  certain: boolean;
  value: Fact | undefined;
}

/** Resolves a name: by its schema, or by the search path. */
function find<Fact>(
  { others }: Catalogue,
  facts: ReadonlyMap<string, Fact>,
  { schema, name }: Name,
  searchPath: readonly string[],
): Found<Fact> {
  if (schema !== undefined) return at(facts, schema.startsWith("pg_temp") ? TEMPORARY_SCHEMA : schema, name, true);
  const temporary = at(facts, TEMPORARY_SCHEMA, name, true);
  if (temporary.value !== undefined) return temporary;
  let certain = true;
  for (const place of searchPath) {
    const found = at(facts, place, name, certain);
    if (found.value !== undefined) return found;
    // In a schema that these files made, what is not known is not there.
    if (!others.has(`schema ${place}`)) certain = false;
  }
  return at(facts, searchPath[0] ?? "public", name, false);
}

function at<Fact>(facts: ReadonlyMap<string, Fact>, schema: string, name: string, certain: boolean): Found<Fact> {
  const key = keyOf(schema, name);
  return { key, schema, certain, value: facts.get(key) };
}

export function blankRelation({ schema, name }: { schema: string; name: string }, kind: RelationKind): Relation {
  return {
    kind,
    schema,
    name,
    createdAt: undefined,
    temporary: schema === TEMPORARY_SCHEMA,
    complete: false,
    columns: new Map(),
    constraints: new Map(),
    pinned: new Map(),
    granted: new Set(),
    triggers: new Map(),
    generation: 0,
  };
}
