import type { ParsedStatement } from "./parser";

/** Position of a statement, for people. */
export interface SourcePosition {
  line: number;
  column: number;
  statement: string;
}

export interface FileStatement extends ParsedStatement {
  /** In UTF-16 units of the file. */
  start: number;
  readonly place: SourcePosition;
  text: string;
  /** Index in the text of a position of the parser's. */
  indexOf(location: number): number;
}

export type At = Pick<FileStatement, "place" | "text" | "indexOf">;

/** Several statements that reach the server as one string. */
export interface Batch {
  statements: readonly FileStatement[];
}

/** Context of code that is not a statement of the file itself. */
export interface CodeContext {
  /** Such as `a DO block`. */
  inside?: string;
  /** Whether it may not be reached at all. */
  conditional: boolean;
  /** Whether its own COMMIT is allowed. */
  mayCommit: boolean;
  variables: ReadonlyMap<string, string>;
  /** Functions that are being looked into. */
  calls: readonly string[];
}

export const TOP: CodeContext = { conditional: false, mayCommit: false, variables: new Map(), calls: [] };
