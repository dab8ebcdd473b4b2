/** Makes text of others (an app, a command, a server, a person) safe to show on a terminal, in a log or in a page. */

/** Longest line that is shown, in characters. */
const MAX_LINE = 4000;

/** ECMA-48 has two forms of each introducer: escape with a letter, and one character above U+0080. */
const ESC = "\u001b";
const BEL = "\u0007";
const ST = `(?:${BEL}|${ESC}\\\\|\u009c)`;
/** Strings that terminals take as commands and don't show (titles, links, downloads), up to their end in the same line. */
const COMMAND_STRING = new RegExp(
  `(?:${ESC}[\\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\\p{Cc}\\u2028\\u2029]{0,8192}${ST}`,
  "gu",
);
/** Colours, movements of the cursor and other sequences. */
const SEQUENCE = new RegExp(`(?:${ESC}\\[|\u009b)[0-?]*[ -/]*[@-~]|${ESC}[ -/]*[0-Z\\\\^-~]`, "gu");
/**
 * Characters that nothing should be shown with: controls, format characters (those that turn the direction of text, those
 * without width), separators of lines that only some programs obey, halves of surrogate pairs, and noncharacters.
 */
const UNSAFE = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029\ufffe\uffff]+/gu;
/** Replaces a removed character, so that its place is visible. */
const MARK = "\u00b7";

/**
 * The text in its lines, without escape sequences; other characters that would steer a terminal or hide something are
 * marked, tabs become spaces, and lines that are too long are cut.
 *
 * @param maxLine longest line, in characters
 */
export function safeText(text: string, maxLine = MAX_LINE): string {
  const plain = text
    .replace(COMMAND_STRING, "")
    .replace(SEQUENCE, "")
    .replace(/\r\n?/g, "\n")
    .replaceAll("\t", " ")
    .replace(UNSAFE, MARK);
  return plain.length <= maxLine
    ? plain
    : plain
        .split("\n")
        .map((line) => cut(line, maxLine))
        .join("\n");
}

/** The same in one line. */
export function safeLine(text: string, maxLine = MAX_LINE): string {
  return cut(safeText(text, Number.POSITIVE_INFINITY).replace(/\s*\n\s*/g, " "), maxLine);
}

/** A value of plain data with safe texts; those that are keys as well. */
export function safeTexts<T>(value: T): T {
  const safe = (inner: unknown): unknown => {
    if (typeof inner === "string") return safeText(inner);
    if (Array.isArray(inner)) return inner.map(safe);
    if (typeof inner !== "object" || inner === null) return inner;
    return Object.fromEntries(Object.entries(inner).map(([key, each]) => [safeLine(key), safe(each)]));
  };
  return safe(value) as T;
}

/**
 * JSON that steers no terminal, and is as exact: characters that nothing should be shown with are escaped.
 *
 * @param indent spaces for each level @default all in one line
 */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, (unsafe) =>
    unsafe
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

function cut(line: string, max: number): string {
  if (line.length <= max) return line;
  const mark = `... (${line.length} characters)`;
  // Not through the middle of a pair.
  return line.slice(0, Math.max(0, max - mark.length)).replace(/[\ud800-\udbff]$/, "") + mark;
}
