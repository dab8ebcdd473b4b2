import { typeText } from "../postgres/syntax/types";
import { pairedSteps } from "./support/paired-column";
import { affectsColumn, columnFacts, defineRules, LATER, q } from "./support/rules";

export const removedColumnRules = defineRules(
  {
    id: "drop-column",
    level: "error",
    question: "compatibility",
    title: "Dropping a column that the running release uses",
    why: "Releases that still run name the column in their queries, or read it by SELECT *, and fail as soon as it is gone. Its values are lost, so the old release can't be restored either.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead: "Release code that no longer uses the column first. Drop it in a contract migration afterwards.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, nick text);",
      unsafe: "ALTER TABLE users DROP COLUMN nick;",
      safe: "COMMENT ON COLUMN users.nick IS 'unused since release 42';",
      proof: { kind: "fails", release: "SELECT id, name, nick FROM users" },
    },
    judges: {
      "drop-column": ({ table, column, cascade }, context) => {
        const { shown, columnBorn } = columnFacts(context, table, column);
        if (columnBorn) return undefined;
        return {
          message: `Releases that still use ${shown}.${q(column)} fail once it is gone${cascade ? ", and CASCADE takes along whatever depends on it" : ""}.`,
          fix: `${LATER}\nALTER TABLE ${shown} DROP COLUMN ${q(column)};`,
          affects: affectsColumn(context, table, column),
        };
      },
    },
  },
  {
    id: "rename-column",
    level: "error",
    question: "compatibility",
    title: "Renaming a column",
    why: "For the running release the column is gone: every query that names it fails. No order of release and migration avoids that.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead:
      "Add a column of the new name, keep both in step by a trigger that goes both ways, fill the new one in batches, and drop the trigger and the old column in a contract migration.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text);",
      unsafe: "ALTER TABLE users RENAME COLUMN name TO full_name;",
      safe: "ALTER TABLE users ADD COLUMN full_name text;",
      proof: { kind: "fails", release: "SELECT id, name FROM users" },
    },
    judges: {
      rename: ({ object, name, part, to }, context) => {
        if (!object.startsWith("column of") || part === undefined) return undefined;
        const { shown, columnBorn, column } = columnFacts(context, name, part);
        if (columnBorn) return undefined;
        const type = column?.type ? typeText(column.type) : "/* its type */";
        return {
          message: `Releases that still use ${shown}.${q(part)} fail once it is called ${q(to)}.`,
          fix: pairedSteps(context, { table: name, old: part, next: to, type }),
          affects: affectsColumn(context, name, part),
        };
      },
    },
  },
);
