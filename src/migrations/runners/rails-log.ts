/**
 * A line of Rails' log that holds a statement: `D, [...] DEBUG -- :   User Update (0.3ms)  UPDATE ...`, with or without its
 * logger's prefix and colours.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the log has escape sequences in it.
const COLOUR = /\x1b\[[0-9;]*m/g;
const STATEMENT = /^(?:[A-Z], \[[^\]]*\][^:]*: )?\s*(?:([A-Za-z][\w:]*(?: [A-Za-z]+)*) )?\(\d+\.\d+ms\)\s+/;
/** Rails' own words between statements, such as `-- add_column(:users, :name)` and `   -> 0.0012s`. */
const OTHER = /^(?:==|-- |\s*->|\s*↳|[A-Z], \[)/;
/** Reads and writes of Rails' own tables, and of the catalogue. */
const BOOKKEEPING = /^(?:SCHEMA|ActiveRecord::)/;
const BINDS = /\s+\[\[".*\]\]\s*$/;

/** The statements of Rails' log at their own lines, each ended by a semicolon; everything else is blank. */
export function readRailsLog(log: string): string {
  let inside = false;
  return log
    .split("\n")
    .map((raw) => {
      const line = raw.replace(COLOUR, "");
      const found = STATEMENT.exec(line);
      if (found) {
        inside = !BOOKKEEPING.test(found[1] ?? "");
        const statement = line.slice(found[0].length).replace(BINDS, "");
        return inside ? `;${" ".repeat(found[0].length - 1)}${statement}` : "";
      }
      if (OTHER.test(line)) inside = false;
      return inside ? line : "";
    })
    .join("\n");
}
