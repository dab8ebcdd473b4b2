import type { Runner, TransactionMode } from "../model/policy/migration-runner";

/** `error` makes a file unsafe; `warn` tells what a person should know; `style` is taste, and never blocks. */
export type Level = "error" | "warn" | "style";

/**
 * The question that a finding answers: does the old release still work after it, can the old release be restored after
 * it, does it block the application (or fail half-way) while it runs. What can't be inspected counts as the last.
 */
export type Question = "compatibility" | "rollback" | "locks";

/** A part of the schema that a statement takes away or changes for releases that know the earlier schema. */
export interface Affected {
  kind: "table" | "column" | "object";
  /** `schema.table`, or the name of the object as written. */
  relation: string;
  column?: string;
}

export interface Finding {
  /** Id of the rule, such as `drop-column`. */
  rule: string;
  level: Level;
  question: Question;
  /** The path as given. */
  file: string;
  /** From 1. */
  line: number;
  /** From 1, in UTF-16 units. */
  column: number;
  /** The statement's beginning, on one line. */
  statement: string;
  /** Why, in one sentence, with the names of this statement. */
  message: string;
  /** The locks that the statement takes, and what they block. */
  locks: string;
  /** Replacement for this very statement. */
  fix: string;
  /** A contract migration may do it, once no release needs what it takes away any more. */
  contractable: boolean;
  /** Affected parts of the schema, to compare with the parts that releases declare to use. */
  affects: readonly Affected[];
}

export type Dialect = "postgres" | "mysql" | "sqlite";

export interface MigrationFile {
  /** Shown in findings; its name also tells the runner (`0001_x.up.sql`, `V1__x.sql`). `-` is standard input. */
  path: string;
  sql: string;
  /** Text of the file in which its runner has settings of this one: Diesel's `metadata.toml`, Flyway's `V1__x.sql.conf`. */
  settings?: string;
}

export interface CheckOptions {
  /** @default "postgres" */
  dialect?: Dialect;
  /** Annotations in a file, such as goose's `NO TRANSACTION`, come before it. @default as the runner does it */
  transaction?: TransactionMode;
  /** @default told by the names and annotations of the files */
  runner?: Runner;
  /** Paths of files that ran already: they make the catalogue, and are not judged. @default none */
  applied?: ReadonlySet<string>;
  /** Major version of the server, 12 to 18. @default any: only what all of them have is safe */
  postgres?: number;
  /** SQL that made the database before the first of the files, such as the output of `pg_dump --schema-only`. */
  schema?: string;
}

export interface FileResult {
  path: string;
  /** The runner as which the file was read. */
  runner: Runner;
  /** Unsafe means at least one error. */
  verdict: "safe" | "unsafe";
  /** In the order of their places. */
  findings: readonly Finding[];
  /** Why the file was not judged at all, such as that it undoes another one. */
  skipped?: string;
}

export interface CheckResult {
  verdict: "safe" | "unsafe";
  files: readonly FileResult[];
}
