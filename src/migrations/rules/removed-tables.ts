import type { Action, CreateRelation } from "../postgres/read/actions";
import type { RuleContext } from "../postgres/run/rule-context";
import { columnOf } from "../postgres/syntax/ast";
import type { Name } from "../postgres/syntax/names";
import type { RuleVerdict } from "../rule";
import { affectsTable, defineRules, LATER, qn } from "./support/rules";

/** Objects that queries read by name as they read tables. */
const TABLE_LIKE = new Set(["table", "foreign table", "view", "materialized view"]);
/** Operations of the old release on a table; a view in its place must allow all of them. */
const NEEDED_GRANTS = ["select", "insert", "update", "delete"];

export const removedTableRules = defineRules(
  {
    id: "drop-table",
    level: "error",
    question: "compatibility",
    title: "Dropping a table that the running release uses",
    why: "Queries of releases that still run fail as soon as the table is gone, and its rows are lost for a rollback.",
    locks: "ACCESS EXCLUSIVE on the table and on those that its keys point to, for a moment: blocks reads and writes.",
    instead: "Release code that no longer uses the table first. Drop it in a contract migration afterwards.",
    contractable: true,
    example: {
      before: "CREATE TABLE sessions (id bigint PRIMARY KEY);",
      unsafe: "DROP TABLE sessions;",
      safe: "COMMENT ON TABLE sessions IS 'unused since release 42';",
      proof: { kind: "fails", release: "SELECT id FROM sessions" },
    },
    judges: {
      drop: ({ object, name, cascade }, context) => {
        if ((object !== "table" && object !== "foreign table") || context.createdHere(name)) return undefined;
        return {
          message: `Releases that still use ${qn(name)} fail once it is gone${cascade ? ", and CASCADE takes along whatever depends on it" : ""}.`,
          fix: `${LATER}\nDROP TABLE ${qn(name)};`,
          affects: affectsTable(context, name),
        };
      },
    },
  },
  {
    id: "rename-table",
    level: "error",
    question: "compatibility",
    title: "Renaming a table, or moving it to another schema",
    why: "For the running release the table is gone: every query that names it fails. Swapping two tables is the same, with other rows.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead:
      "In one transaction: rename it, make a view of the old name over it, and grant on the view what was granted on the table.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text);",
      unsafe: "ALTER TABLE users RENAME TO people;",
      safe: "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people; GRANT SELECT, INSERT, UPDATE, DELETE ON users TO PUBLIC;",
      proof: { kind: "fails", release: "INSERT INTO users (id, name) VALUES (1, 'Ada')" },
    },
    judges: {
      rename: ({ object, name, to, part }, context) =>
        TABLE_LIKE.has(object) && part === undefined ? movedTable(context, name, { ...name, name: to }) : undefined,
      "set-schema": ({ object, name, to }, context) =>
        TABLE_LIKE.has(object) ? movedTable(context, name, { schema: to, name: name.name }) : undefined,
    },
  },
  {
    id: "truncate",
    level: "error",
    question: "rollback",
    title: "TRUNCATE",
    why: "All rows are lost, so no rollback brings back what the previous release worked with. Readers that run at that moment see an empty table.",
    locks: "ACCESS EXCLUSIVE on the table: blocks reads and writes.",
    instead: "Delete in batches what is really not needed, when no release reads it.",
    contractable: true,
    example: {
      before:
        "CREATE TABLE events (id bigint PRIMARY KEY, archived boolean); INSERT INTO events SELECT generate_series(1, 10);",
      unsafe: "TRUNCATE events;",
      safe: "UPDATE events SET archived = true WHERE id BETWEEN 1 AND 5;",
      proof: { kind: "differs", release: "SELECT id FROM events ORDER BY id" },
    },
    judges: {
      truncate: ({ table, restart, cascade }, context) =>
        context.createdHere(table) && !cascade
          ? undefined
          : {
              message: `All rows of ${qn(table)} are lost for good${restart ? ", and its ids begin anew" : ""}${cascade ? ", with those of every table that points to it" : ""}.`,
              fix: `Delete what is not needed in batches, each in its own transaction:\nDELETE FROM ${qn(table)} WHERE /* key */ BETWEEN /* from */ AND /* to */;`,
              affects: affectsTable(context, table),
            },
    },
  },
);

function movedTable(context: RuleContext, from: Name, to: Name): RuleVerdict | undefined {
  if (context.createdHere(from) || isReplacedByView(context, from, to)) return undefined;
  const privileges = NEEDED_GRANTS.join(", ").toUpperCase();
  return {
    message: `Releases that still use ${qn(from)} fail once it is ${qn(to)}, as no view with its grants takes its place in the same transaction.`,
    fix: [
      "-- In one transaction:",
      `${context.text.trim()};`,
      `CREATE VIEW ${qn(from)} AS SELECT * FROM ${qn(to)};`,
      `GRANT ${privileges} ON ${qn(from)} TO /* who had them on the table */;`,
    ].join("\n"),
    affects: affectsTable(context, from),
  };
}

/** Whether later statements of the transaction make a view in its place that allows all that the table did. */
function isReplacedByView(context: RuleContext, from: Name, to: Name): boolean {
  const old = context.resolve(from);
  const following = context.following();
  const placeOf = (name: Name) => {
    const { schema } = name.schema === undefined ? { schema: context.searchPath[0] ?? "public" } : name;
    return `${schema}.${name.name}`;
  };
  const there = `${old.schema}.${old.name}`;
  const moved = `${to.schema ?? old.schema}.${to.name}`;
  const view = following.some(
    (action) =>
      action.kind === "create-relation" &&
      action.relation === "view" &&
      !action.temporary &&
      placeOf(action.name) === there &&
      showsAll(action, (name) => placeOf(name) === moved, [...(old.relation?.columns.keys() ?? [])]),
  );
  const granted = new Set(following.flatMap((action) => grantsOn(action, (name) => placeOf(name) === there)));
  return view && (granted.has("all") || NEEDED_GRANTS.every((privilege) => granted.has(privilege)));
}

const grantsOn = (action: Action, isIt: (name: Name) => boolean): readonly string[] =>
  action.kind === "grant" && action.objects.some(isIt) ? action.privileges : [];

/** A view that PostgreSQL lets write through, over all columns under their own names. */
function showsAll(
  { query, columnNames }: CreateRelation,
  isIt: (name: Name) => boolean,
  columns: readonly string[],
): boolean {
  if (query === undefined || columnNames.length > 0) return false;
  const {
    fromClause = [],
    targetList = [],
    whereClause,
    distinctClause,
    groupClause,
    limitCount,
    withClause,
    larg,
  } = query;
  if ([whereClause, distinctClause, groupClause, limitCount, withClause, larg].some((part) => part !== undefined))
    return false;
  const [table] = fromClause;
  if (fromClause.length !== 1 || table === undefined || !("RangeVar" in table)) return false;
  const { schemaname, relname = "" } = table.RangeVar;
  if (!isIt(schemaname === undefined ? { name: relname } : { schema: schemaname, name: relname })) return false;
  const shown = targetList.map((target) => {
    if (!("ResTarget" in target)) return undefined;
    const { val, name } = target.ResTarget;
    const last = val && "ColumnRef" in val ? val.ColumnRef.fields?.at(-1) : undefined;
    if (last && "A_Star" in last) return "*";
    const column = columnOf(val);
    return name === undefined || name === column ? column : undefined;
  });
  if (shown.includes("*")) return true;
  return columns.length > 0 && columns.every((column) => shown.includes(column));
}
