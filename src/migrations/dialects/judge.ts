import type { TransactionMode } from "../../model/policy/migration-runner";
import type { Dialect } from "../finding";

/** A statement as node-sql-parser reads it. */
export type Tree = Record<string, unknown>;

/** A rule, and what it says of a statement. */
export interface Judgement {
  rule: string;
  message: string;
  fix: string;
  level?: "warn";
}

export interface DialectContext {
  dialect: Exclude<Dialect, "postgres">;
  transaction: TransactionMode;
  /** Tables that this file made, in lower case. */
  born: Set<string>;
}

const LATER = "Do it in a contract migration, when no release that uses it runs or is kept for a rollback.";
const BY_HAND = "Judge it by hand, and bypass this finding.";
const COMPUTED_ONCE = /^(?:now|current_timestamp|current_date|current_time|localtime|localtimestamp|utc_timestamp)$/i;

const list = (value: unknown): Tree[] =>
  (Array.isArray(value) ? value : value === null || value === undefined ? [] : [value]) as Tree[];
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const tableName = (value: unknown): string => text(list(value)[0]?.table);
const columnName = (value: unknown): string => text((value as Tree | undefined)?.column);
const unknown = (what: string): Judgement[] => [
  { rule: "unknown-code", message: `This can't be judged: ${what}.`, fix: BY_HAND },
];
const one = (rule: string, message: string, fix: string, level?: "warn"): Judgement[] => [
  { rule, message, fix, ...(level && { level }) },
];

/** Rules that a statement breaks; a statement that is not known to be good counts as unknown, and is refused. */
export function judgeStatement(tree: Tree, context: DialectContext): Judgement[] {
  switch (tree.type) {
    case "select":
      return callsIn(tree).length > 0 ? unknown("it calls functions") : [];
    case "insert":
      return [];
    case "update":
    case "delete":
      return judgeWrite(tree, context);
    case "create":
      return judgeCreate(tree, context);
    case "alter":
      return judgeAlter(tree, context);
    case "drop":
      return judgeDrop(tree, context);
    case "rename":
      return (tree.table as Tree[][]).flatMap(([from, to]) => renamed(text(from?.table), text(to?.table), context));
    case "truncate":
      return list(tree.name)
        .filter((table) => !isBorn(table, context))
        .flatMap((table) =>
          one("truncate", `All rows of ${text(table.table)} are lost for good.`, "Delete in batches."),
        );
    case "lock":
      return one("lock-table", "The application waits for the tables until they are unlocked.", "Remove it.");
    case "transaction":
      return context.transaction === "none" && context.dialect === "sqlite"
        ? []
        : one(
            "transaction-control",
            "The runner does not expect it; in MySQL each change of the schema commits by itself.",
            "Remove it.",
          );
    default:
      return unknown(`statements of this kind (${text(tree.type) || "unknown"}) are not read`);
  }
}

const isBorn = (table: Tree, { born }: DialectContext): boolean => born.has(text(table.table).toLowerCase());

function judgeWrite(tree: Tree, context: DialectContext): Judgement[] {
  const tables = list(tree.table ?? tree.from);
  const bounded = has(tree.where, "column_ref") || tree.limit !== null;
  if (bounded || (tables.length > 0 && tables.every((table) => isBorn(table, context)))) return [];
  const verb = text(tree.type).toUpperCase();
  return one(
    "unbounded-write",
    `${verb} on ${tableName(tables)} leaves no row out.`,
    `In batches: ${verb} ... WHERE ...;`,
  );
}

function judgeCreate(tree: Tree, context: DialectContext): Judgement[] {
  const keyword = text(tree.keyword);
  if (keyword === "table") {
    const name = tableName(tree.table);
    const found = list(tree.create_definitions).flatMap((definition) => blockingKey(definition, name, context));
    if (!tree.if_not_exists) context.born.add(name.toLowerCase());
    return found;
  }
  if (keyword === "index") return index(tree, tableName(tree.table), context);
  if (keyword === "trigger") return [];
  if (keyword === "view") return tree.replace ? unknown("what the view was before is not known") : [];
  return unknown(`CREATE ${keyword.toUpperCase()} is not read`);
}

function blockingKey(definition: Tree, table: string, context: DialectContext): Judgement[] {
  const reference = definition.reference_definition as Tree | null | undefined;
  if (!reference) return [];
  const target = tableName(reference.table);
  const deletes = list(reference.on_action).find(({ type }) => text(type).toLowerCase() === "on delete");
  const action = text((deletes?.value as Tree | undefined)?.value).toLowerCase();
  if (isBorn({ table: target }, context) || target.toLowerCase() === table.toLowerCase() || action === "cascade")
    return [];
  if (action === "set null" && definition.nullable === undefined) return [];
  return one(
    "blocking-key",
    `When the running release deletes a row of ${target} that a row of ${table} points to, the key refuses it.`,
    "ON DELETE CASCADE",
  );
}

function index(tree: Tree, table: string, context: DialectContext): Judgement[] {
  if (isBorn({ table }, context)) return [];
  const kind = text(tree.index_type ?? tree.keyword).toLowerCase();
  if (context.dialect === "sqlite" || !["", "index", "key", "unique", "unique index", "unique key"].includes(kind))
    return one(
      "create-index",
      `Nobody can write to ${table} until the index is built.`,
      "Build it when nobody writes.",
    );
  return kind.startsWith("unique")
    ? one(
        "tighten-constraint",
        `Writes of the running release to ${table} that repeat a key fail.`,
        "Make sure it writes none.",
        "warn",
      )
    : [];
}

function judgeAlter(tree: Tree, context: DialectContext): Judgement[] {
  const table = tableName(tree.table);
  if (isBorn({ table }, context)) return [];
  return list(tree.expr).flatMap((change) => judgeChange(change, table, context));
}

function judgeChange(change: Tree, table: string, context: DialectContext): Judgement[] {
  const action = text(change.action);
  const column = columnName(change.column);
  const resource = text(change.resource);
  if (action === "add" && resource === "column") return judgeNewColumn(change, table, column);
  if (action === "add" && resource === "index") return index(change, table, context);
  if (action === "add" && resource === "constraint")
    return judgeConstraint(change.create_definitions as Tree, table, context);
  if (action === "drop" && resource === "column")
    return one("drop-column", `Releases that still use ${table}.${column} fail once it is gone.`, LATER);
  if (action === "drop")
    return one("drop-constraint", `The previous release, restored, meets rows in ${table} that it kept out.`, LATER);
  if (action === "rename" && resource === "column")
    return one(
      "rename-column",
      `Releases that still use ${table}.${columnName(change.old_column)} fail.`,
      "Add a column, keep both in step, drop the old one later.",
    );
  if (action === "rename") return renamed(table, text(change.table), context);
  if (action === "modify" || action === "change")
    return one(
      "change-column-type",
      `Releases that use ${table}.${column} read and write it as it was.`,
      "Add a column of the new type, keep both in step, drop the old one later.",
    );
  return unknown(`ALTER TABLE ... ${action.toUpperCase() || "(unknown)"} is not read`);
}

function judgeNewColumn(change: Tree, table: string, column: string): Judgement[] {
  const value = (change.default_val as Tree | undefined)?.value as Tree | undefined;
  const required = (change.nullable as Tree | undefined)?.type === "not null";
  if (change.auto_increment || change.generated || change.auto_increment_type)
    return one(
      "generated-column",
      `Every row of ${table} gets a value of ${column} now, so the table is written anew.`,
      "Add a plain column, and fill it in batches.",
    );
  if (change.unique || change.primary_key || change.unique_or_primary)
    return one(
      "unique-constraint",
      `The index over ${table}.${column} is built while the table is locked.`,
      "Add the column, fill it, then add the index.",
    );
  if (change.check || change.reference_definition)
    return one("constraint-scan", `Every row of ${table} is scanned.`, "Add the column without it.");
  if (required && (value === undefined || value.type === "null"))
    return one(
      "add-required-column",
      `Inserts of the running release leave ${column} out of ${table}, and fail.`,
      `Give ${column} a constant default that stays, or let it be NULL.`,
    );
  const volatile = callsIn(value).filter((name) => !COMPUTED_ONCE.test(name));
  return volatile.length > 0
    ? one(
        "volatile-default",
        `The default of ${table}.${column} is computed for every row (${volatile.join(", ")}).`,
        "Add it without the default, and fill it in batches.",
      )
    : [];
}

function judgeConstraint(definition: Tree | undefined, table: string, context: DialectContext): Judgement[] {
  const kind = text(definition?.constraint_type).toLowerCase();
  if (kind.startsWith("unique") && context.dialect === "mysql") return index({ index_type: "unique" }, table, context);
  if (kind.startsWith("unique") || kind.startsWith("primary"))
    return one(
      "unique-constraint",
      `The index over ${table} is built while the table is locked.`,
      "Make a new table with it.",
    );
  return one(
    "constraint-scan",
    `Every row of ${table} is scanned while the table is locked.`,
    "Let the application check it.",
  );
}

function judgeDrop(tree: Tree, context: DialectContext): Judgement[] {
  const keyword = text(tree.keyword);
  const names = list(tree.name);
  if (keyword === "table")
    return names
      .filter((table) => !isBorn(table, context))
      .flatMap((table) =>
        one("drop-table", `Releases that still use ${text(table.table)} fail once it is gone.`, LATER),
      );
  if (keyword === "index") {
    if (isBorn((tree.table as Tree) ?? {}, context)) return [];
    return one(
      "drop-unique-index",
      "Were it a unique index, the running release could store duplicates.",
      BY_HAND,
      "warn",
    );
  }
  if (keyword === "trigger")
    return one("drop-trigger", "What the trigger does for running releases stops at once.", LATER);
  return one("drop-object", `Releases that still use this ${keyword} fail once it is gone.`, LATER);
}

function renamed(from: string, to: string, context: DialectContext): Judgement[] {
  return isBorn({ table: from }, context)
    ? []
    : one(
        "rename-table",
        `Releases that still use ${from} fail once it is called ${to}.`,
        `Make a view ${from} over the new table.`,
      );
}

/** Whether a tree holds a node of a type. */
function has(tree: unknown, type: string): boolean {
  if (typeof tree !== "object" || tree === null) return false;
  return (tree as Tree).type === type || Object.values(tree).some((part) => has(part, type));
}

/** Names of the functions that a tree calls. */
function callsIn(tree: unknown): string[] {
  if (typeof tree !== "object" || tree === null) return [];
  const own = (tree as Tree).type === "function" ? [functionName((tree as Tree).name)] : [];
  return [...own, ...Object.values(tree).flatMap(callsIn)];
}

function functionName(name: unknown): string {
  if (typeof name === "string") return name;
  const parts = list((name as Tree | undefined)?.name);
  return text(parts.at(-1)?.value);
}
