import type { Node, SelectStmt } from "libpg-query";
import type { RelationKind } from "../catalogue/catalogue";
import type { Name } from "../syntax/names";
import type { ColumnSpec, ConstraintSpec, PartitionBound, PartitionKey, TriggerShape } from "../syntax/specs";
import type { TypeRef } from "../syntax/types";
import type { RoutineShape } from "./routine";

/** One thing that a statement does, in the words of the rules; the catalogue is built from the same ones. */
export type Action =
  | CreateRelation
  | CreateIndex
  | ({ table: Name } & TableAction)
  | Drop
  | Rename
  | { kind: "set-schema"; object: ObjectKind; name: Name; to: string }
  | {
      kind: "create-type";
      name: Name;
      type: "enum" | "domain" | "composite" | "range" | "base";
      domain?: DomainSpec;
      values?: readonly string[];
    }
  | { kind: "alter-domain"; name: Name; change: DomainChange; constraint?: ConstraintSpec }
  | { kind: "enum-value"; name: Name; value: string; ifNotExists: boolean }
  | { kind: "rename-enum-value"; name: Name; from: string; to: string }
  | { kind: "attribute"; name: Name; verb: "ADD" | "DROP" | "ALTER" | "RENAME"; attribute: string }
  | { kind: "create-other"; object: string; name: string; table?: Name; ifNotExists: boolean }
  | { kind: "create-policy"; table: Name; name: string; restrictive: boolean }
  | { kind: "alter-policy"; table: Name; name: string }
  | { kind: "create-rule"; table: Name; name: string }
  | ({ kind: "create-routine" } & RoutineShape)
  | {
      kind: "create-trigger";
      table: Name;
      name: string;
      replace: boolean;
      columns: readonly string[];
      shape: TriggerShape;
    }
  | { kind: "grant"; objects: readonly Name[]; privileges: readonly string[]; grantees: readonly string[] }
  | { kind: "revoke"; object: string; names: readonly Name[]; what: string }
  | { kind: "access"; what: string; subject: string; safe: string }
  | { kind: "owner"; object: ObjectKind; name: Name; own: boolean }
  | { kind: "truncate"; table: Name; restart: boolean; cascade: boolean }
  | { kind: "reindex"; what: string; name?: Name; concurrently: boolean }
  | { kind: "refresh"; view: Name; concurrently: boolean; withData: boolean }
  | { kind: "rewrite"; what: string; name?: Name; object: ObjectKind }
  | { kind: "lock-table"; table: Name; mode: LockMode }
  | { kind: "sequence"; name: Name; change: "restart" | "cycle" | "other" }
  | { kind: "publication"; name: string; all: boolean; tables: readonly Name[]; deletes: boolean; adds: boolean }
  | { kind: "outside-transaction"; what: string }
  | { kind: "uninspectable"; as?: UninspectableKind; what: string; fix: string }
  | {
      kind: "write";
      verb: WriteVerb;
      table: Name;
      bounded: boolean;
      single: boolean;
      many: boolean;
      sets: readonly string[];
      joined: readonly string[];
    }
  /** Reads a whole table of the application's, such as CREATE TABLE AS does. */
  | { kind: "long-read"; what: string }
  | { kind: "call"; function: Name; arguments: readonly Node[]; standalone: boolean }
  | { kind: "transaction-control"; what: string; problem: string; fix: string }
  /** A value of an enum that this very transaction added. */
  | { kind: "new-enum-value"; value: string; type: string }
  | { kind: "disable-triggers-of-session"; what: string }
  | { kind: "harmless" };

export type WriteVerb = "UPDATE" | "DELETE" | "MERGE" | "INSERT";

/** Why nobody can say what runs. */
export type UninspectableKind = "dynamic-sql" | "psql-command" | "copy-program" | "syntax-error" | "unknown-code";

export type LockMode =
  | "ACCESS SHARE"
  | "ROW SHARE"
  | "ROW EXCLUSIVE"
  | "SHARE UPDATE EXCLUSIVE"
  | "SHARE"
  | "SHARE ROW EXCLUSIVE"
  | "EXCLUSIVE"
  | "ACCESS EXCLUSIVE";

/** As people call it: `table`, `materialized view`, `function`. */
export type ObjectKind = string;

interface DomainSpec {
  base: TypeRef;
  constrained: boolean;
}

export type DomainChange =
  | "add-constraint"
  | "validate"
  | "set-not-null"
  | "drop-not-null"
  | "drop-constraint"
  | "set-default"
  | "drop-default";

export interface CreateRelation {
  kind: "create-relation";
  relation: RelationKind;
  name: Name;
  temporary: boolean;
  ifNotExists: boolean;
  replace: boolean;
  columns: readonly ColumnSpec[];
  constraints: readonly ConstraintSpec[];
  like: readonly { table: Name; options: number }[];
  inherits: readonly Name[];
  partitionOf?: { parent: Name; bound: PartitionBound };
  partitionKey?: PartitionKey;
  /** The query that fills it, or that it shows. */
  query?: SelectStmt;
  /** Of a materialized view: it is made WITH NO DATA, so that nobody can read it yet. */
  empty?: boolean;
  /** Of a view. */
  columnNames: readonly string[];
  ownedBy?: Name;
}

export interface CreateIndex {
  kind: "create-index";
  table: Name;
  name?: string;
  unique: boolean;
  concurrently: boolean;
  ifNotExists: boolean;
  only: boolean;
  columns: readonly string[];
  uses: readonly string[];
  partial: boolean;
  expressions: boolean;
}

export type TableAction =
  | { kind: "add-column"; column: ColumnSpec; ifNotExists: boolean }
  | { kind: "drop-column"; column: string; ifExists: boolean; cascade: boolean }
  | { kind: "set-default"; column: string; value: Node }
  | { kind: "drop-default"; column: string }
  | { kind: "set-not-null"; column: string }
  | { kind: "drop-not-null"; column: string }
  | { kind: "change-type"; column: string; type: TypeRef; using?: Node; collated: boolean }
  | { kind: "add-constraint"; constraint: ConstraintSpec }
  | { kind: "validate-constraint"; name: string }
  | { kind: "drop-constraint"; name: string; ifExists: boolean; cascade: boolean }
  | { kind: "add-identity"; column: string; always: boolean }
  | { kind: "set-identity"; column: string; always: boolean | undefined; restart: boolean }
  | { kind: "drop-identity"; column: string }
  | { kind: "drop-expression"; column: string }
  | { kind: "row-security"; what: string }
  | { kind: "trigger-state"; what: string; disables: boolean }
  | { kind: "rule-state"; what: string; name: string; disables: boolean }
  | { kind: "replica-identity"; to: "default" | "full" | "nothing" | "index" }
  | { kind: "attach-partition"; partition: Name; bound: PartitionBound }
  | { kind: "detach-partition"; partition: Name; concurrently: boolean }
  | { kind: "no-inherit"; parent: Name }
  /** In the catalogue alone, under a lock that is held for a moment. */
  | { kind: "alter-minor"; lock: LockMode };

interface Drop {
  kind: "drop";
  object: ObjectKind;
  /** Of what hangs on a table (a trigger, rule or policy): the table. */
  name: Name;
  part?: string;
  /** Of a function: its parameters' types, where they are given. */
  signature?: string;
  ifExists: boolean;
  cascade: boolean;
  concurrently: boolean;
  /** How many objects the statement drops. */
  together: number;
}

interface Rename {
  kind: "rename";
  object: ObjectKind;
  name: Name;
  /** The column or constraint or the like that is renamed, where it isn't the object itself. */
  part?: string;
  to: string;
}

/** Each privilege with who gets it: `select to app`. */
export const privilegesOf = ({ privileges, grantees }: Extract<Action, { kind: "grant" }>): string[] =>
  privileges.flatMap((privilege) => grantees.map((grantee) => `${privilege} to ${grantee}`));
