import type { Affected } from "../../finding";
import { type Column, keyOf, type Relation } from "../../postgres/catalogue/catalogue";
import type { RuleContext } from "../../postgres/run/rule-context";
import { derivedName, type Name, quoteIdentifier, quoteName } from "../../postgres/syntax/names";
import type { Rule } from "../../rule";

export const q = quoteIdentifier;
export const qn = quoteName;

/** In a contract migration, with the order of things. */
export const LATER =
  "Leave it out of this migration. Do it in a contract migration, when no release that uses it runs or is kept for a rollback.";

/** Key of what a statement creates: a name without a schema goes to the first one of the search path. */
export const placeOf = ({ searchPath }: RuleContext, { schema, name }: Name): string =>
  keyOf(schema ?? searchPath[0] ?? "public", name);

export interface TableFacts {
  relation: Relation | undefined;
  /** Whether this file creates it, so that no release knows it yet. */
  born: boolean;
  /** As written. */
  shown: string;
}

export function tableFacts(context: RuleContext, name: Name): TableFacts {
  return { relation: context.resolve(name).relation, born: context.createdHere(name), shown: quoteName(name) };
}

export function columnFacts(
  context: RuleContext,
  table: Name,
  column: string,
): TableFacts & { column: Column | undefined; columnBorn: boolean } {
  const facts = tableFacts(context, table);
  const known = facts.relation?.columns.get(column);
  return { ...facts, column: known, columnBorn: facts.born || context.isCreatedHere(known?.createdAt) };
}

export function affectsTable(context: RuleContext, name: Name): Affected[] {
  const { schema, name: relation } = context.resolve(name);
  return [{ kind: "table", relation: `${schema}.${relation}` }];
}

export function affectsColumn(context: RuleContext, table: Name, column: string): Affected[] {
  const { schema, name } = context.resolve(table);
  return [{ kind: "column", relation: `${schema}.${name}`, column }];
}

/** One batch of a backfill. */
export const batchUpdate = (table: Name, column: string, value: string): string =>
  `UPDATE ${qn(table)} SET ${q(column)} = ${value} WHERE ${q(column)} IS NULL AND /* key */ BETWEEN /* from */ AND /* to */;`;

/** The migrations that make a column required which every release fills. */
export function requireSteps(table: Name, column: string): [title: string, ...sql: string[]][] {
  const [t, c] = [qn(table), q(column)];
  const check = q(derivedName(table.name, column, "not_null"));
  return [
    [
      "When every release that runs writes it: check new rows only.",
      `ALTER TABLE ${t} ADD CONSTRAINT ${check} CHECK (${c} IS NOT NULL) NOT VALID;`,
    ],
    [
      "In a transaction of its own: look at the old rows without blocking writes.",
      `ALTER TABLE ${t} VALIDATE CONSTRAINT ${check};`,
    ],
    [
      "The check proves it, so no row is scanned.",
      `ALTER TABLE ${t} ALTER COLUMN ${c} SET NOT NULL;`,
      `ALTER TABLE ${t} DROP CONSTRAINT ${check};`,
    ],
  ];
}

/** Statements for several migrations, each under its heading. */
export function steps(...parts: readonly [title: string, ...sql: string[]][]): string {
  return parts.map(([title, ...sql], index) => [`-- ${index + 1}. ${title}`, ...sql].join("\n")).join("\n");
}

export const defineRules = (...rules: Rule[]): readonly Rule[] => rules;
