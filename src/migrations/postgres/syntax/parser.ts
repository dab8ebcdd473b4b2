import type * as Library from "libpg-query";
import type { Node, ParseResult } from "libpg-query";
import { messageOf } from "../../../model/types/errors";

export interface ParsedStatement {
  node: Node;
  /** In the parser's unit: bytes of UTF-8. */
  startByte: number;
  endByte: number;
}

/** The parser's message about a text that it can't read. */
export class SyntaxProblem extends Error {
  constructor(
    message: string,
    /** In code points from the beginning of the text. */
    readonly at: number,
  ) {
    super(message);
    this.name = "SyntaxProblem";
  }
}

/** Longer texts are not parsed: the parser's memory would not be given back. */
const MAX_TEXT = 16 * 1024 * 1024;

export interface Parser {
  /** @throws SyntaxProblem */
  parse(sql: string): ParsedStatement[];
  /** The body of a PL/pgSQL function or DO block, given as the whole statement. @throws SyntaxProblem */
  parseFunction(sql: string): unknown;
  /** Positions of the words and signs of a text, in bytes. @throws SyntaxProblem */
  scan(sql: string): { start: number; end: number; text: string }[];
}

let loading: Promise<Parser> | undefined;

/** PostgreSQL's own parser. It is loaded at the first call only: its 1.7 MB are no part of a start without it. */
export function loadParser(): Promise<Parser> {
  loading ??= load();
  return loading;
}

async function load(): Promise<Parser> {
  const library: typeof Library = await import("libpg-query");
  await library.loadModule();
  const guarded = <Result>(sql: string, work: () => Result): Result => {
    if (sql.length > MAX_TEXT) throw new SyntaxProblem(`longer than ${MAX_TEXT} characters`, 0);
    // The parser would stop reading there, and the rest would never be judged.
    const nul = sql.indexOf("\0");
    if (nul >= 0) throw new SyntaxProblem("a NUL character", nul);
    try {
      return work();
    } catch (error) {
      if (library.hasSqlDetails(error)) throw new SyntaxProblem(error.message, error.sqlDetails?.cursorPosition ?? 0);
      if (error instanceof RangeError) throw new SyntaxProblem("nested too deeply", 0);
      throw new SyntaxProblem(messageOf(error), 0);
    }
  };
  return {
    parse: (sql) =>
      guarded(sql, () => {
        if (sql === "") return [];
        const { stmts }: ParseResult = library.parseSync(sql);
        return (stmts ?? []).flatMap(({ stmt, stmt_location: startByte = 0, stmt_len: length }) =>
          stmt ? [{ node: stmt, startByte, endByte: length ? startByte + length : Number.POSITIVE_INFINITY }] : [],
        );
      }),
    parseFunction: (sql) => guarded(sql, () => library.parsePlPgSQLSync(sql)),
    scan: (sql) => guarded(sql, () => library.scanSync(sql).tokens),
  };
}
