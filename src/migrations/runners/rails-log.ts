// biome-ignore lint/suspicious/noControlCharactersInRegex: the log has escape sequences in it.
const COLOUR = /\x1b\[[0-9;]*m/g;
/**
 * A line of Rails' log that holds a statement: `D, [...] DEBUG -- :   User Update (0.3ms)  UPDATE ...`, with or without its
 * logger's prefix and colours.
 */
const STATEMENT = /^(?:[A-Z], \[[^\]]*\][^:]*: )?\s*(?:([A-Za-z][\w:]*(?: [A-Za-z]+)*) )?\(\d+\.\d+ms\)(?:\s+|$)/;
/** The mark of a statement, also behind a prefix that a tagged logger or a container puts before it. */
const TIMED = /\(\d+\.\d+ms\)/;
/**
 * Rails' own words between statements, such as `== 20240101 AddName: migrating ===` and `   -> 0.0012s`. Its
 * `-- add_column(:users, :name)` is a comment in SQL, as one inside of a statement may be, so it ends none.
 */
const OTHER =
  /^(?:== .*: (?:migrating|migrated|reverting|reverted)\b|\s*-> (?:\d+\.\d+s|\d+ rows)\s*$|\s*↳|[A-Z], \[\d{4}-)/;
const CALL = /^-- \w+\(/;
/** Reads and writes of Rails' own tables, and of the catalogue. */
const BOOKKEEPING = /^(?:SCHEMA$|ActiveRecord::(?:SchemaMigration|InternalMetadata)\b)/;
const BINDS = /\s+\[\[".*\]\]\s*$/;

export interface RailsLog {
  /** The statements at their own lines, each ended by a semicolon; everything else is blank. */
  text: string;
  /** Lines that may hold a statement which is not in the text, and their places in it. */
  unread: readonly { at: number; line: string }[];
}

/** Whether a text is Rails' log: it has a statement of one, and nothing but Rails' own lines comes before. */
export function isRailsLog(text: string): boolean {
  for (const raw of text.split("\n")) {
    const line = raw.replace(COLOUR, "");
    if (STATEMENT.test(line)) return true;
    if (line.trim() !== "" && !OTHER.test(line) && !CALL.test(line)) return false;
  }
  return false;
}

export function readRailsLog(log: string): RailsLog {
  const unread: { at: number; line: string }[] = [];
  const lines = log.split("\n").map((raw) => raw.replace(COLOUR, ""));
  let inside = false;
  let any = false;
  let text = "";
  for (const line of lines) {
    const found = STATEMENT.exec(line);
    any ||= found !== null;
    if (!found && TIMED.test(line)) unread.push({ at: text.length, line });
    if (found) inside = !BOOKKEEPING.test(found[1] ?? "");
    else if (OTHER.test(line)) inside = false;
    if (inside && found) text += `;${" ".repeat(found[0].length - 1)}${line.slice(found[0].length).replace(BINDS, "")}`;
    else if (inside) text += line;
    text += "\n";
  }
  // Without a statement it is no log of them, or one of a level that leaves them out.
  if (!any && unread.length === 0 && log.trim() !== "") unread.push({ at: 0, line: lines[0] ?? "" });
  return { text, unread };
}
