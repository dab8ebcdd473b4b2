import type { CreatedAt } from "../postgres/catalogue/catalogue";
import { keyOf } from "../postgres/catalogue/catalogue";
import type { RuleContext } from "../postgres/run/rule-context";
import type { RuleVerdict } from "../rule";
import { defineRules, placeOf, q, qn, tableFacts } from "./support/rules";

export const existingRules = defineRules({
  id: "already-exists",
  level: "error",
  question: "locks",
  title: "Making what is there already",
  why: "PostgreSQL refuses to make a table, column, index, type, constraint or trigger of a name that is taken, so the migration fails.",
  locks: "None: the statement fails.",
  instead: "Leave it out, or choose another name. IF NOT EXISTS passes, but leaves what is there as it is.",
  contractable: false,
  example: {
    before: "CREATE TABLE users (id bigint PRIMARY KEY, name text);",
    unsafe: "ALTER TABLE users ADD COLUMN name varchar(50);",
    safe: "ALTER TABLE users ADD COLUMN nick varchar(50);",
    proof: { kind: "refused" },
  },
  judges: {
    "create-relation": ({ relation, name, temporary, ifNotExists, replace }, context) => {
      if (temporary || ifNotExists) return undefined;
      const before = context.catalogue.relations.get(placeOf(context, name));
      if (before === undefined || (replace && before.kind === "view")) return undefined;
      return taken(context, before.createdAt, `${relation === "matview" ? "materialized view" : relation} ${qn(name)}`);
    },
    "create-index": ({ table, name, ifNotExists }, context) => {
      if (ifNotExists || name === undefined) return undefined;
      const { schema } = context.resolve(table);
      return taken(context, context.catalogue.relations.get(keyOf(schema, name))?.createdAt, `index ${q(name)}`);
    },
    "create-type": ({ name }, context) =>
      taken(context, context.catalogue.types.get(placeOf(context, name))?.createdAt, `type ${qn(name)}`),
    "create-trigger": ({ table, name, replace }, context) =>
      replace
        ? undefined
        : taken(
            context,
            context.catalogue.others.get(`trigger ${context.resolve(table).key} ${name}`),
            `trigger ${q(name)} on ${qn(table)}`,
          ),
    "add-column": ({ table, column, ifNotExists }, context) =>
      ifNotExists
        ? undefined
        : taken(
            context,
            tableFacts(context, table).relation?.columns.get(column.name)?.createdAt,
            `column ${q(column.name)} of ${qn(table)}`,
          ),
    "add-constraint": ({ table, constraint: { name } }, context) =>
      name === undefined
        ? undefined
        : taken(
            context,
            tableFacts(context, table).relation?.constraints.get(name)?.createdAt,
            `constraint ${q(name)} of ${qn(table)}`,
          ),
  },
});

/** Only what is known to be there for sure: not what a condition may have left out. */
function taken(context: RuleContext, createdAt: CreatedAt, what: string): RuleVerdict | undefined {
  if (createdAt === undefined || !context.certain) return undefined;
  return {
    message: `There is a ${what} already, from ${context.isCreatedHere(createdAt) ? "a statement before" : context.fileOf(createdAt)}, so the statement fails.`,
    fix: "Leave the statement out, or choose another name.",
    locks: "none: the statement fails",
  };
}
