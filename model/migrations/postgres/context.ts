import type { ParsedStatement } from "./parser";

/** Where a statement stands, for people. */
export interface Place {
  line: number;
  column: number;
  statement: string;
}

export interface FileStatement extends ParsedStatement {
  /** In UTF-16 units of the file. */
  start: number;
  readonly place: Place;
  text: string;
  /** Where the parser's places lead to in the text. */
  indexOf(location: number): number;
}

export type At = Pick<FileStatement, "place" | "text" | "indexOf">;

/** Several statements that reach the server as one string. */
export interface Sent {
  statements: readonly FileStatement[];
}

/** Where code runs that is not a statement of the file itself. */
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
