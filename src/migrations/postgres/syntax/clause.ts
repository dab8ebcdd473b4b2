import { endOfDollar, endOfQuoted, hasEscapes } from "../../lexer";

/** Pieces of a statement's own text, for rewrites that keep what people wrote. */

/** From a place to the end of its clause: the next comma, semicolon or closing parenthesis of the same depth. */
export function clauseFrom(text: string, from: number): string {
  let depth = 0;
  for (let at = from; at < text.length; at = next(text, at)) {
    const char = text[at];
    if (char === "(" || char === "[") depth++;
    if (char === ")" || char === "]") depth--;
    if (depth < 0 || (depth === 0 && (char === "," || char === ";"))) return text.slice(from, at).trim();
  }
  return text.slice(from).trim();
}

/** The first parentheses after a place, with what is in them. */
export function parenthesesAfter(text: string, from: number): string | undefined {
  for (let at = from; at < text.length; at = next(text, at)) {
    if (text[at] !== "(") continue;
    let depth = 0;
    for (let end = at; end < text.length; end = next(text, end)) {
      if (text[end] === "(") depth++;
      if (text[end] === ")" && --depth === 0) return text.slice(at, end + 1);
    }
  }
  return undefined;
}

function next(text: string, at: number): number {
  const char = text[at];
  if (char === "'") return endOfQuoted(text, at, hasEscapes(text, at));
  if (char === '"') return endOfQuoted(text, at, false);
  if (char === "$") return endOfDollar(text, at);
  return at + 1;
}
