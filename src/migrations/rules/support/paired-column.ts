import type { Node } from "libpg-query";
import { type Column, keyOf } from "../../postgres/catalogue/catalogue";
import type { Action } from "../../postgres/read/actions";
import { volatileIn } from "../../postgres/read/volatility";
import type { RuleContext } from "../../postgres/run/rule-context";
import { columnOf, constantOf, stripCasts, walk } from "../../postgres/syntax/ast";
import { clauseFrom } from "../../postgres/syntax/clause";
import { derivedName, type Name, quoteLiteral, stringsOf } from "../../postgres/syntax/names";
import { typeText } from "../../postgres/syntax/types";
import { batchUpdate, columnFacts, q, qn, steps } from "./rules";

/** A column that takes another one's place, while releases use either. */
export interface Pair {
  table: Name;
  /** The column that releases use now. */
  old: string;
  /** The one that takes its place. */
  next: string;
  /** Of the new one, as SQL. */
  type: string;
  /**
   * Expression that turns the old column's value into the new one's, over the row's columns. @default the old column,
   * assigned
   */
  forth?: string;
  /**
   * Expression that turns the new column's value into the old one's, over `NEW`; a comment if only people know.
   * @default the new column, assigned
   */
  back?: string;
  /** Whether a default means the same in both. @default true */
  sameDefault?: boolean;
}

/** Types whose `=` tells every two values apart. Others are compared by their text: `1.0 = 1.00`, and json has no `=` at all. */
const EXACT = new Set(
  "int2 int4 int8 smallint integer bigint boolean bool uuid date timestamp timestamptz text varchar bytea".split(" "),
);

/**
 * The migrations by which a column takes the place of another one: both are kept in step by a trigger that goes both ways, so
 * that each release uses the one that it knows, and meets what the other has written.
 */
export function pairedSteps(context: RuleContext, pair: Pair): string {
  const { table, old, next, type } = pair;
  const [t, c, n] = [qn(table), q(old), q(next)];
  const { column, relation } = columnFacts(context, table, old);
  const value = defaultOf(context, pair, column);
  const sync = { ...table, name: derivedName(table.name, old, "sync") };
  const indexes = indexesOf(context, pair);
  const required = column?.notNull ?? (relation?.complete === true ? false : undefined);
  const check = q(derivedName(table.name, next, "not_null"));
  const heed =
    required === undefined ? [`-- Where ${c} is NOT NULL; leave this and the next two out where it is not.`] : [];
  const left = leftovers(context, pair);
  return steps(
    [
      "Expand, in one transaction: a second column, kept in step with the first one, both ways, by a trigger.",
      `ALTER TABLE ${t} ADD COLUMN ${n} ${type};`,
      ...(value?.early === true ? [`ALTER TABLE ${t} ALTER COLUMN ${n} SET DEFAULT ${value.text};`] : []),
      ...triggerOf(pair, { sync, value, oldType: column?.type === undefined ? "" : typeText(column.type) }),
    ],
    ["Fill it in batches, each in its own transaction.", batchUpdate(table, next, pair.forth ?? c)],
    ...indexes.map(({ create }): [string, string] => ["Without a transaction around it.", create]),
    ...(required === false
      ? []
      : ([
          [
            "Require it: new rows only.",
            ...heed,
            `ALTER TABLE ${t} ADD CONSTRAINT ${check} CHECK (${n} IS NOT NULL) NOT VALID;`,
          ],
          [
            "In a migration of its own: the old rows, without blocking writes.",
            `ALTER TABLE ${t} VALIDATE CONSTRAINT ${check};`,
          ],
          [
            "The check proves it, so no row is scanned.",
            `ALTER TABLE ${t} ALTER COLUMN ${n} SET NOT NULL;`,
            `ALTER TABLE ${t} DROP CONSTRAINT ${check};`,
          ],
        ] as [string, ...string[]][])),
    [
      `Now release the code that uses ${n}. Contract, in one transaction, when no release that uses ${c} runs or is kept for a rollback.`,
      ...left,
      ...(value === undefined || value.early ? [] : [`ALTER TABLE ${t} ALTER COLUMN ${n} SET DEFAULT ${value.text};`]),
      ...(value?.sequence === undefined ? [] : [`ALTER SEQUENCE ${value.sequence} OWNED BY ${t}.${n};`]),
      ...identityOf(pair, column),
      ...indexes.flatMap(({ contract }) => contract ?? []),
      `DROP TRIGGER ${q(sync.name)} ON ${t};`,
      `DROP FUNCTION ${qn(sync)}();`,
      `ALTER TABLE ${t} DROP COLUMN ${c};`,
    ],
  );
}

/**
 * A write to one column goes to both; if both are written, the new one counts. A backfill, which writes what is there
 * already, leaves the old column as it is.
 */
function triggerOf(
  { table, old, next, type, forth, back }: Pair,
  { sync, value, oldType }: { sync: Name; value: Default | undefined; oldType: string },
): string[] {
  const [c, n] = [q(old), q(next)];
  const differ = (left: string, right: string, of = type) =>
    EXACT.has(of.replace(/\(\d+\)$/, ""))
      ? `${left} IS DISTINCT FROM ${right}`
      : `${left}::text IS DISTINCT FROM ${right}::text`;
  const made = forth === undefined ? `NEW.${c}` : `(SELECT ${forth} FROM (SELECT NEW.*) AS ${q(table.name)})`;
  const given = value?.early === true ? differ(`NEW.${n}`, "_default") : `NEW.${n} IS NOT NULL`;
  const body = [
    `DECLARE _made ${type} := ${made};${value?.early === true ? ` _default ${type} := ${value.text};` : ""}`,
    "BEGIN",
    `  IF (TG_OP = 'INSERT' AND ${given}) OR (TG_OP = 'UPDATE' AND ${differ(`NEW.${n}`, `OLD.${n}`)}) THEN`,
    `    IF ${differ(`NEW.${n}`, "_made")} THEN NEW.${c} := ${back ?? `NEW.${n}`}; END IF;`,
    `  ELSIF TG_OP = 'INSERT' OR ${differ(`NEW.${c}`, `OLD.${c}`, oldType)} OR NEW.${n} IS NULL THEN`,
    `    NEW.${n} := _made;`,
    "  END IF;",
    "  RETURN NEW;",
    "END",
  ];
  return [
    `CREATE FUNCTION ${qn(sync)}() RETURNS trigger LANGUAGE plpgsql AS $$\n${body.join("\n")}\n$$;`,
    `CREATE TRIGGER ${q(sync.name)} BEFORE INSERT OR UPDATE ON ${qn(table)} FOR EACH ROW EXECUTE FUNCTION ${qn(sync)}();`,
  ];
}

interface Default {
  text: string;
  /** Whether both columns can have it while both are used: the same for every statement of a transaction. */
  early: boolean;
  /** The sequence that it takes its values from. */
  sequence?: string;
}

function defaultOf(
  context: RuleContext,
  { table, old, sameDefault = true }: Pair,
  column: Column | undefined,
): Default | undefined {
  if (column?.hasDefault !== true) return undefined;
  const unknown = { text: `/* the default of ${q(old)} */`, early: false };
  if (column.default === undefined) {
    const { key, schema } = context.resolve(table);
    const name = derivedName(table.name, old, "seq");
    if (context.catalogue.relations.get(keyOf(schema, name))?.owner !== key) return unknown;
    const sequence = qn({ ...table, name });
    return { text: `nextval(${quoteLiteral(sequence)})`, early: false, sequence };
  }
  const bare = stripCasts(column.default);
  if ("A_Const" in bare && bare.A_Const.isnull === true) return undefined;
  const text = sqlOf(bare);
  if (text === undefined || (!sameDefault && !text.startsWith("nextval("))) return unknown;
  const sequence = /^nextval\('((?:[^']|'')+)'\)$/.exec(text)?.[1];
  if (sequence !== undefined) return { text, early: false, sequence };
  return { text, early: volatileIn(column.default, context.catalogue, context.searchPath) === undefined };
}

const VALUES: Record<string, string> = {
  SVFOP_CURRENT_DATE: "CURRENT_DATE",
  SVFOP_CURRENT_TIMESTAMP: "CURRENT_TIMESTAMP",
  SVFOP_LOCALTIMESTAMP: "LOCALTIMESTAMP",
  SVFOP_CURRENT_USER: "CURRENT_USER",
};

/** Constants, and calls of functions with constants; casts are left out, since the column's own type does that. */
function sqlOf(node: Node): string | undefined {
  if ("A_Const" in node) {
    const text = constantOf(node.A_Const);
    if (text === null) return "NULL";
    return node.A_Const.sval === undefined ? text : quoteLiteral(text);
  }
  if ("SQLValueFunction" in node) return VALUES[node.SQLValueFunction.op ?? ""];
  if (!("FuncCall" in node)) return undefined;
  const { funcname, args = [] } = node.FuncCall;
  const given = args.map((argument) => sqlOf(stripCasts(argument)));
  if (given.includes(undefined)) return undefined;
  return `${stringsOf(funcname).map(q).join(".")}(${given.join(", ")})`;
}

function identityOf({ table, next }: Pair, column: Column | undefined): string[] {
  const { generated } = column ?? {};
  if (generated !== "always" && generated !== "by-default") return [];
  const how = generated === "always" ? "ALWAYS" : "BY DEFAULT";
  return [
    `ALTER TABLE ${qn(table)} ALTER COLUMN ${q(next)} ADD GENERATED ${how} AS IDENTITY (START WITH /* above the highest value */);`,
  ];
}

/** Statements that repeat each index of the old column on the new one; and its constraint, once the old one goes. */
function indexesOf(context: RuleContext, { table, old, next }: Pair): { create: string; contract?: string }[] {
  const { key, relation } = context.resolve(table);
  return context.catalogue.indexesOf(key).flatMap(([, { name, index }]) => {
    if (!index.columns.includes(old) || index.partial || index.expressions) return [];
    const made = q(derivedName(name, "new"));
    const columns = index.columns.map((column) => q(column === old ? next : column)).join(", ");
    const create = `CREATE ${index.unique ? "UNIQUE " : ""}INDEX CONCURRENTLY ${made} ON ${qn(table)} (${columns});`;
    const constraint = relation?.constraints.get(index.constraint ?? "");
    if (constraint === undefined) return [{ create }];
    const kind = constraint.kind === "primary" ? "PRIMARY KEY" : "UNIQUE";
    const swap = `ALTER TABLE ${qn(table)} DROP CONSTRAINT ${q(name)}, ADD CONSTRAINT ${q(name)} ${kind} USING INDEX ${made};`;
    return [{ create, contract: swap }];
  });
}

/** Other objects that depend on the old column, for people: their text is not known. */
function leftovers(context: RuleContext, { table, old, next }: Pair): string[] {
  const { key, relation } = context.resolve(table);
  const [c, n] = [q(old), q(next)];
  const own = [...(relation?.constraints.values() ?? [])].filter(
    ({ kind, columns }) => columns.includes(old) && (kind === "foreign" || kind === "check" || kind === "exclude"),
  );
  const inexact = context.catalogue
    .indexesOf(key)
    .filter(([, { index }]) => index.uses.includes(old) && (index.partial || index.expressions));
  const pointing = [...context.catalogue.relations.values()].flatMap(({ name, constraints }) =>
    [...constraints.values()].flatMap((fact) =>
      fact.kind === "foreign" && fact.references === key ? [`${q(fact.name)} of ${q(name)}`] : [],
    ),
  );
  const holders = [...(relation?.pinned ?? [])].filter(([, names]) => names.includes(old) || names.includes("*"));
  return [
    ...own.map(
      ({ name }) =>
        `-- Before that: what ${q(name)} says of ${c}, of ${n} (NOT VALID, then VALIDATE in a migration of its own).`,
    ),
    ...inexact.map(([, { name }]) => `-- Before that: the index ${q(name)} over ${n}, CONCURRENTLY.`),
    ...(pointing.length === 0
      ? []
      : [`-- Before that: where ${pointing.join(", ")} points to ${c}, a key that points to ${n}.`]),
    ...(holders.length === 0 ? [] : [`-- Before that: views, policies and triggers that use ${c}.`]),
  ];
}

type Retyping = Extract<Action, { kind: "change-type" }>;

/** A column of another type. What USING says goes forth; back goes a cast, where USING is one, and else people say how. */
export function retypedPair(context: RuleContext, { table, column: old, type, using }: Retyping): Pair {
  const { relation, column } = columnFacts(context, table, old);
  let next = `${old}_new`;
  for (let number = 2; relation?.columns.has(next); number++) next = `${old}_new${number}`;
  const pair = { table, old, next, type: typeText(type) };
  if (using === undefined) return pair;
  const forth = usingText(context, using) ?? `/* ${q(next)} from ${q(old)} */`;
  const isCast = columnOf(stripCasts(using)) === old;
  // Without the length that it has, since a cast cuts off what does not fit, which the column itself refuses.
  const { type: before } = column ?? {};
  const cast = before === undefined ? `NEW.${q(next)}` : `NEW.${q(next)}::${typeText({ ...before, mods: [] })}`;
  return {
    ...pair,
    forth,
    sameDefault: false,
    back: isCast ? cast : `/* ${q(old)} from NEW.${q(next)}: what undoes ${forth} */`,
  };
}

/** The text of a change's USING, as written. */
function usingText(context: RuleContext, using: Node): string | undefined {
  let first = Number.POSITIVE_INFINITY;
  walk(using, (_, { location }) => {
    if (typeof location === "number" && location >= 0) first = Math.min(first, location);
    return undefined;
  });
  if (!Number.isFinite(first)) return undefined;
  const before = context.text.slice(0, context.indexOf(first));
  const at = before.toLowerCase().lastIndexOf("using");
  return at < 0 ? undefined : clauseFrom(context.text, at + "using".length);
}
