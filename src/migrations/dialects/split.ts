import { endOfQuoted, type Range } from "../lexer";

/** How texts are written in a dialect, as far as it matters for finding the ends of statements. */
export interface TextStyle {
  /** A backslash escapes inside of texts. */
  backslash: boolean;
  /** `#` begins a comment. */
  hash: boolean;
}

/** Comments, texts and quoted names, of which a semicolon may be a part. */
const PIECE = /--[^\n]*|#[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|['"`]|;/g;

/** The statements of a file, without their semicolons; comments stay in them, as some databases run what is in those. */
export function splitStatements(text: string, { backslash, hash }: TextStyle): Range[] {
  const found: Range[] = [];
  let start = 0;
  PIECE.lastIndex = 0;
  for (let piece = PIECE.exec(text); piece; piece = PIECE.exec(text)) {
    const [token] = piece;
    if (token === ";") {
      found.push({ start, end: piece.index });
      start = PIECE.lastIndex;
    } else if (token.startsWith("#") && !hash) PIECE.lastIndex = piece.index + 1;
    else if (token.length === 1 && token !== "#")
      PIECE.lastIndex = endOfQuoted(text, piece.index, backslash && token !== "`");
  }
  found.push({ start, end: text.length });
  return found;
}
