import type { ColumnDef, Constraint, Node, PartitionBoundSpec, PartitionSpec } from "libpg-query";
import { columnsIn, unwrap } from "./ast";
import { type Name, nameOfRangeVar, quoteIdentifier, quoteName, stringsOf } from "./names";
import { serialBase, type TypeRef, typeOf } from "./types";

/** A column as a statement declares it. */
export interface ColumnSpec {
  name: string;
  type: TypeRef;
  /** `serial` and its like: the type is already what it stands for. */
  serial: boolean;
  notNull: boolean;
  default?: Node;
  identity?: "always" | "by-default";
  generated?: "stored" | "virtual";
  /** Columns that it is computed from. */
  generatedFrom?: readonly string[];
  /** CHECK, UNIQUE, PRIMARY KEY and REFERENCES written with the column. */
  constraints: readonly ConstraintSpec[];
  /** In bytes from the beginning of the text. */
  location: number;
}

export type DeleteAction = "no-action" | "restrict" | "cascade" | "set-null" | "set-default";

export interface ConstraintSpec {
  kind: "check" | "unique" | "primary" | "foreign" | "exclude" | "not-null";
  name?: string;
  /** Of a key: its columns. Of a check: those that its expression names. */
  columns: readonly string[];
  expression?: Node;
  notValid: boolean;
  notEnforced: boolean;
  usingIndex?: string;
  deferrable: "no" | "immediate" | "deferred";
  nullsNotDistinct: boolean;
  /** Of an exclusion: all that it says, to compare it by. */
  exclusion?: string;
  references?: {
    table: Name;
    /** Empty where it is the primary key, without a word of it. */
    columns: readonly string[];
    onDelete: DeleteAction;
    onUpdate: DeleteAction;
    full: boolean;
    setColumns: readonly string[];
    /** All of the clause but its columns, as SQL. */
    text: string;
  };
  location: number;
}

/** When a trigger runs, and what, to compare it with the one that takes its place. */
export interface TriggerShape {
  /** As PostgreSQL's bits: INSERT, DELETE, UPDATE and TRUNCATE. */
  events: number;
  /** Of UPDATE OF; empty where any column will do. */
  columns: readonly string[];
  /** All else but its name, as text: timing, level, condition, function and its arguments. */
  form: string;
}

export interface PartitionKey {
  strategy: "range" | "list" | "hash";
  /** Undefined where a part of the key is an expression. */
  columns: readonly (string | undefined)[];
}

const DELETE_ACTIONS: Record<string, DeleteAction> = {
  a: "no-action",
  r: "restrict",
  c: "cascade",
  n: "set-null",
  d: "set-default",
};

export function columnSpec(def: ColumnDef): ColumnSpec {
  const name = def.colname ?? "";
  const written = typeOf(def.typeName);
  const base = serialBase(written);
  const spec: ColumnSpec = {
    name,
    type: base === undefined ? written : { ...written, name: base },
    serial: base !== undefined,
    notNull: def.is_not_null === true || base !== undefined,
    constraints: [],
    location: def.location ?? 0,
  };
  const constraints: ConstraintSpec[] = [];
  for (const constraint of withAttributes(def.constraints)) {
    switch (constraint.contype) {
      case "CONSTR_NOTNULL":
        spec.notNull = true;
        break;
      case "CONSTR_DEFAULT":
        if (constraint.raw_expr) spec.default = constraint.raw_expr;
        break;
      case "CONSTR_IDENTITY":
        spec.identity = constraint.generated_when === "a" ? "always" : "by-default";
        spec.notNull = true;
        break;
      case "CONSTR_GENERATED":
        spec.generated = constraint.generated_kind === "v" ? "virtual" : "stored";
        spec.generatedFrom = [...columnsIn(constraint.raw_expr)];
        break;
      default: {
        const own = constraintSpec(constraint, name);
        if (own) constraints.push(own);
        if (own?.kind === "primary") spec.notNull = true;
      }
    }
  }
  if (def.raw_default && spec.default === undefined) spec.default = def.raw_default;
  return { ...spec, constraints };
}

/** Constraints of a column, each with the DEFERRABLE and the like that follow it as items of their own. */
function withAttributes(nodes: readonly Node[] | undefined): Constraint[] {
  const found: Constraint[] = [];
  for (const node of nodes ?? []) {
    if (!("Constraint" in node)) continue;
    const last = found.at(-1);
    const { contype } = node.Constraint;
    if (contype === "CONSTR_ATTR_DEFERRABLE" && last) last.deferrable = true;
    else if (contype === "CONSTR_ATTR_DEFERRED" && last) Object.assign(last, { deferrable: true, initdeferred: true });
    else found.push({ ...node.Constraint });
  }
  return found;
}

/** @param column the one that the constraint is written with */
export function constraintSpec(constraint: Constraint, column?: string): ConstraintSpec | undefined {
  const common = {
    ...(constraint.conname !== undefined && { name: constraint.conname }),
    notValid: constraint.skip_validation === true,
    notEnforced: false,
    deferrable: constraint.initdeferred ? "deferred" : constraint.deferrable ? "immediate" : "no",
    nullsNotDistinct: constraint.nulls_not_distinct === true,
    location: constraint.location ?? 0,
  } as const;
  const keys = stringsOf(constraint.keys);
  const columns = keys.length > 0 || column === undefined ? keys : [column];
  const usingIndex = constraint.indexname === undefined ? {} : { usingIndex: constraint.indexname };
  switch (constraint.contype) {
    case "CONSTR_CHECK":
      return {
        ...common,
        kind: "check",
        columns: [...columnsIn(constraint.raw_expr)],
        ...(constraint.raw_expr && { expression: constraint.raw_expr }),
        notEnforced: constraint.is_enforced !== true,
      };
    case "CONSTR_UNIQUE":
      return { ...common, kind: "unique", columns, ...usingIndex };
    case "CONSTR_PRIMARY":
      return { ...common, kind: "primary", columns, ...usingIndex };
    case "CONSTR_EXCLUSION":
      return {
        ...common,
        kind: "exclude",
        columns: [...columnsIn(constraint.exclusions)],
        exclusion: JSON.stringify(
          [constraint.access_method, constraint.exclusions, constraint.where_clause],
          (key, value) => (key === "location" ? undefined : value),
        ),
      };
    case "CONSTR_NOTNULL":
      return { ...common, kind: "not-null", columns };
    case "CONSTR_FOREIGN": {
      const own = stringsOf(constraint.fk_attrs);
      return {
        ...common,
        kind: "foreign",
        columns: own.length > 0 || column === undefined ? own : [column],
        notEnforced: constraint.is_enforced !== true,
        references: {
          table: nameOfRangeVar(constraint.pktable ?? {}),
          columns: stringsOf(constraint.pk_attrs),
          onDelete: DELETE_ACTIONS[constraint.fk_del_action ?? "a"] ?? "no-action",
          onUpdate: DELETE_ACTIONS[constraint.fk_upd_action ?? "a"] ?? "no-action",
          full: constraint.fk_matchtype === "f",
          setColumns: stringsOf(constraint.fk_del_set_cols),
          text: referencesText(constraint),
        },
      };
    }
    default:
      return undefined;
  }
}

const ACTION_TEXTS: Record<string, string> = { r: "RESTRICT", c: "CASCADE", n: "SET NULL", d: "SET DEFAULT" };

/** A foreign key's target and what it does, without what else is written with its column. */
function referencesText({
  pktable,
  pk_attrs,
  fk_matchtype,
  fk_upd_action = "a",
  fk_del_action = "a",
  fk_del_set_cols,
  deferrable,
  initdeferred,
}: Constraint): string {
  const list = (nodes: readonly Node[] | undefined) => {
    const names = stringsOf(nodes);
    return names.length === 0 ? "" : ` (${names.map(quoteIdentifier).join(", ")})`;
  };
  const [onUpdate, onDelete] = [ACTION_TEXTS[fk_upd_action], ACTION_TEXTS[fk_del_action]];
  return [
    `REFERENCES ${quoteName(nameOfRangeVar(pktable ?? {}))}${list(pk_attrs)}`,
    ...(fk_matchtype === "f" ? ["MATCH FULL"] : []),
    ...(onUpdate === undefined ? [] : [`ON UPDATE ${onUpdate}`]),
    ...(onDelete === undefined ? [] : [`ON DELETE ${onDelete}${list(fk_del_set_cols)}`]),
    ...(deferrable ? ["DEFERRABLE"] : []),
    ...(initdeferred ? ["INITIALLY DEFERRED"] : []),
  ].join(" ");
}

export function partitionKey(spec: PartitionSpec): PartitionKey {
  const strategy = {
    PARTITION_STRATEGY_LIST: "list",
    PARTITION_STRATEGY_RANGE: "range",
    PARTITION_STRATEGY_HASH: "hash",
  };
  const columns = (spec.partParams ?? []).map((node) => {
    const [, body] = unwrap(node);
    return typeof body.name === "string" ? body.name : undefined;
  });
  return {
    strategy: (strategy[spec.strategy ?? "PARTITION_STRATEGY_RANGE"] ?? "range") as PartitionKey["strategy"],
    columns,
  };
}

export type PartitionBound = PartitionBoundSpec;
