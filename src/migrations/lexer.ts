/**
 * Parts of a file that the parser does not see: comments, psql's commands, and the data of COPY. Places in UTF-16
 * units.
 */
export interface Lexed {
  /** Without the semicolon; blank and comment-only ones are left out. */
  statements: Range[];
  lineComments: Range[];
  /** psql's own commands, such as `\set`. */
  metaCommands: Range[];
  /** Lines after COPY ... FROM STDIN were left out. */
  hasCopyData: boolean;
}

export interface Range {
  start: number;
  end: number;
}

const WORD = /[A-Za-z0-9_$\u0080-\uffff]/;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
const COPY = /^copy\b/i;
const COPY_FROM_STDIN = /^copy\b[\s\S]*\bfrom\s+stdin\b/i;
const COPY_END = /^\\\.[ \t\r]*$/gm;

/**
 * Cuts a file into statements as psql does, without judging whether they are SQL.
 * @param takesData whether lines of data follow a statement that begins as COPY does
 */
export function lex(text: string, takesData = (statement: string) => COPY_FROM_STDIN.test(statement)): Lexed {
  const found: Lexed = { statements: [], lineComments: [], metaCommands: [], hasCopyData: false };
  let start = -1;
  let end = 0;
  let at = 0;
  let depth = 0;
  const begin = (to: number) => {
    if (start < 0) start = at;
    at = to;
    end = to;
  };
  const finish = () => {
    if (start >= 0) found.statements.push({ start, end });
    start = -1;
    depth = 0;
  };
  while (at < text.length) {
    const char = text[at] ?? "";
    if (text.startsWith("--", at)) {
      const stop = endOfComment(text, at);
      found.lineComments.push({ start: at, end: stop });
      at = stop;
    } else if (text.startsWith("/*", at)) at = endOfBlockComment(text, at);
    else if (char === "'") begin(endOfQuoted(text, at, hasEscapes(text, at)));
    else if (char === '"') begin(endOfQuoted(text, at, false));
    else if (char === "$") begin(endOfDollar(text, at));
    else if (char === "\\") {
      const stop = endOfLine(text, at);
      found.metaCommands.push({ start: at, end: stop });
      finish();
      at = stop;
    } else if (char === ";" && depth === 0) {
      const statement = start < 0 ? "" : text.slice(start, end);
      finish();
      at++;
      if (COPY.test(statement) && takesData(statement)) {
        at = endOfCopyData(text, at);
        found.hasCopyData = true;
      }
    } else if (/\s/.test(char)) at++;
    else {
      if (char === "(") depth++;
      if (char === ")" && depth > 0) depth--;
      let stop = at + 1;
      if (WORD.test(char)) while (stop < text.length && WORD.test(text[stop] ?? "")) stop++;
      begin(stop);
    }
  }
  finish();
  return found;
}

/** PostgreSQL ends a comment at a carriage return as well. */
export function endOfComment(text: string, from: number): number {
  const end = text.slice(from, endOfLine(text, from)).indexOf("\r");
  return end < 0 ? endOfLine(text, from) : from + end;
}

function endOfLine(text: string, from: number): number {
  const newline = text.indexOf("\n", from);
  return newline < 0 ? text.length : newline;
}

export function endOfBlockComment(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    if (text.startsWith("/*", at)) {
      depth++;
      at++;
    } else if (text.startsWith("*/", at)) {
      depth--;
      at++;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}

/** `E'...'` is the only form in which a backslash escapes. */
export function hasEscapes(text: string, quote: number): boolean {
  return /[eE]/.test(text[quote - 1] ?? "") && !WORD.test(text[quote - 2] ?? " ");
}

export function endOfQuoted(text: string, from: number, escapes: boolean): number {
  const quote = text[from];
  for (let at = from + 1; at < text.length; at++) {
    if (escapes && text[at] === "\\") at++;
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1;
      at++;
    }
  }
  return text.length;
}

export function endOfDollar(text: string, from: number): number {
  DOLLAR_TAG.lastIndex = from;
  const tag = DOLLAR_TAG.exec(text)?.[0];
  if (tag === undefined) return from + 1;
  const close = text.indexOf(tag, from + tag.length);
  return close < 0 ? text.length : close + tag.length;
}

function endOfCopyData(text: string, from: number): number {
  const data = endOfLine(text, from);
  COPY_END.lastIndex = data + 1;
  const end = COPY_END.exec(text);
  return end ? end.index + end[0].length : text.length;
}
