import type { Node } from "libpg-query";
import type { CreatedAt } from "../postgres/catalogue/catalogue";
import type { RuleContext } from "../postgres/run/rule-context";
import { constantText } from "../postgres/syntax/constants";
import { derivedName, type Name, nameOfParts } from "../postgres/syntax/names";
import type { RuleVerdict } from "../rule";
import { isRoutineRemade, type Remade, remadeView } from "./support/remade";
import { defineRules, LATER, q, qn } from "./support/rules";

const RELATIONS = new Set(["table", "foreign table", "view", "materialized view", "sequence", "index"]);
const VIEWS = new Set(["view", "materialized view"]);
const TYPES = new Set(["type", "domain"]);
const ROUTINES = new Set(["function", "procedure", "routine", "aggregate"]);
/** Judged by rules of their own. */
const ELSEWHERE = new Set(["table", "foreign table", "index", "trigger", "rule", "policy", "event trigger", "role"]);
/** Objects that no query names. */
const UNNAMED = new Set(["statistics"]);
/** Renaming these changes no query. */
const QUIET_RENAMES = new Set(["trigger", "rule", "policy", "domain constraint", "statistics", "event trigger"]);
const TABLE_LIKE = new Set(["table", "foreign table", "view", "materialized view"]);

/** Whether this very file made an object of any kind. */
export function objectBorn(context: RuleContext, object: string, name: Name, part?: string): boolean {
  if (part !== undefined) {
    const { key } = context.resolve(name);
    return context.createdHere(name) || context.isCreatedHere(context.catalogue.others.get(`${object} ${key} ${part}`));
  }
  if (RELATIONS.has(object)) return context.createdHere(name);
  if (TYPES.has(object)) return context.isCreatedHere(context.catalogue.type(name, context.searchPath).type?.createdAt);
  if (ROUTINES.has(object)) {
    const facts = context.catalogue.functionsNamed(name, context.searchPath);
    return (
      facts.length > 0 && facts.every(({ createdAt }: { createdAt: CreatedAt }) => context.isCreatedHere(createdAt))
    );
  }
  return context.isCreatedHere(context.catalogue.others.get(`${object} ${name.name}`));
}

/** The sequence that a call names, as far as it is a constant. */
function sequenceOf(context: RuleContext, argument: Node | undefined): Name | undefined {
  if (argument === undefined) return undefined;
  const text = constantText(argument, new Map());
  if (text !== undefined) return nameOfParts(text.split(".").map((part) => part.replace(/^"|"$/g, "")));
  if ("TypeCast" in argument) return sequenceOf(context, argument.TypeCast.arg);
  if (!("FuncCall" in argument)) return undefined;
  const [table, column] = (argument.FuncCall.args ?? []).map((inner) => constantText(inner, new Map()));
  if (table === undefined || column === undefined) return undefined;
  const { schema, name } = nameOfParts(table.split("."));
  const sequence = derivedName(name, column, "seq");
  return schema === undefined ? { name: sequence } : { schema, name: sequence };
}

function ownedByBorn(context: RuleContext, name: Name): boolean {
  // An identity's sequence is as old as the identity, which may be younger than its table.
  const owner = context.resolve(name).relation?.owner;
  return (
    context.createdHere(name) ||
    (owner !== undefined && context.isCreatedHere(context.catalogue.relations.get(owner)?.createdAt))
  );
}

/** No query can call a function of triggers, and PostgreSQL keeps one that a trigger uses. */
function isForTriggersOnly(context: RuleContext, name: Name): boolean {
  const facts = context.catalogue.functionsNamed(name, context.searchPath);
  return facts.length > 0 && facts.every(({ shape }) => shape.forTriggers);
}

function lostOfView(name: Name, { missing, what }: Remade): RuleVerdict {
  const one = missing.length === 1 ? "it" : "them";
  switch (what) {
    case "columns":
      return {
        message: `Releases that read ${missing.map(q).join(", ")} of view ${qn(name)} fail: it comes back without ${one}.`,
        fix: `Keep ${missing.map(q).join(", ")} in it until no release reads ${one}.`,
        affects: missing.map((column) => ({ kind: "column", relation: qn(name), column })),
      };
    case "privileges":
      return {
        message: `View ${qn(name)} comes back without privileges that were granted on it: ${missing.join(", ")}.`,
        fix: missing.map((privilege) => `GRANT ${privilege.replace(" to ", ` ON ${qn(name)} TO `)};`).join("\n"),
      };
    case "types":
      return {
        level: "warn",
        message: `View ${qn(name)} comes back by another query, and nothing shows that its columns are of the types that they were.`,
        fix: "Make sure that each column is of the type that it was.",
      };
  }
}

export const objectRules = defineRules(
  {
    id: "drop-object",
    level: "error",
    question: "compatibility",
    title: "Dropping a view, function, type, sequence, schema or extension",
    why: "What the running release calls, casts to or reads is gone, and it fails. With CASCADE, columns and tables go with it.",
    locks: "ACCESS EXCLUSIVE on the object, for a moment: blocks whatever uses it.",
    instead: "Release code that no longer uses it first. Drop it in a contract migration afterwards.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text); CREATE VIEW names AS SELECT name FROM users;",
      unsafe: "DROP VIEW names;",
      safe: "CREATE OR REPLACE VIEW names AS SELECT name, id FROM users;",
      proof: { kind: "fails", release: "SELECT name FROM names" },
    },
    judges: {
      drop: ({ object, name, part, cascade, signature }, context) => {
        if (ELSEWHERE.has(object) || UNNAMED.has(object) || objectBorn(context, object, name, part)) return undefined;
        if (ROUTINES.has(object) && !cascade) {
          if (isRoutineRemade(context, name, signature) || isForTriggersOnly(context, name)) return undefined;
        }
        const remade = VIEWS.has(object) ? remadeView(context, name, cascade) : undefined;
        if (remade) return remade.missing.length === 0 ? undefined : lostOfView(name, remade);
        const shown = `${object} ${qn(name)}`.trim();
        return {
          message: `Releases that still use ${shown} fail once it is gone${cascade ? ", and CASCADE takes along whatever depends on it, columns too" : ""}.`,
          fix: LATER,
          affects: [{ kind: "object", relation: name.name }],
        };
      },
    },
  },
  {
    id: "rename-object",
    level: "error",
    question: "compatibility",
    title: "Renaming a type, function, sequence, schema or constraint",
    why: "Casts, calls and ON CONFLICT ON CONSTRAINT of the running release name it as it was, and fail.",
    locks: "ACCESS EXCLUSIVE on the object, for a moment: blocks whatever uses it.",
    instead: "Make another of the new name, move the code, and drop the old one in a contract migration.",
    contractable: true,
    example: {
      before: "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE users (id bigint PRIMARY KEY, mood mood);",
      unsafe: "ALTER TYPE mood RENAME TO feeling;",
      safe: "CREATE TYPE feeling AS ENUM ('glad', 'sad');",
      proof: { kind: "fails", release: "SELECT 'glad'::mood" },
    },
    judges: {
      rename: ({ object, name, part, to }, context) => {
        if (
          object.startsWith("column of") ||
          (TABLE_LIKE.has(object) && part === undefined) ||
          QUIET_RENAMES.has(object)
        )
          return undefined;
        if (object === "index") {
          const { relation } = context.resolve(name);
          // Only the index of a constraint can be named by a query.
          if (relation?.index?.constraint === undefined || context.createdHere(name)) return undefined;
        } else if (object === "constraint") {
          const fact = context.resolve(name).relation?.constraints.get(part ?? "");
          const quiet = fact !== undefined && ["check", "foreign", "not-null"].includes(fact.kind);
          if (quiet || context.createdHere(name) || context.isCreatedHere(fact?.createdAt)) return undefined;
        } else if (objectBorn(context, object, name)) return undefined;
        return {
          message: `Releases that name ${object} ${part === undefined ? qn(name) : q(part)} fail once it is called ${q(to)}.`,
          fix: `Make another ${object} ${q(to)}, and drop the old one when no release names it.`,
          affects: [{ kind: "object", relation: part ?? name.name }],
        };
      },
      "set-schema": ({ object, name, to }, context) =>
        TABLE_LIKE.has(object) || UNNAMED.has(object) || objectBorn(context, object, name)
          ? undefined
          : {
              message: `Releases that name ${object} ${qn(name)} fail once it is in schema ${q(to)}.`,
              fix: `Make another ${object} in schema ${q(to)}, and drop the old one when no release names it.`,
              affects: [{ kind: "object", relation: name.name }],
            },
    },
  },
  {
    id: "rename-enum-value",
    level: "error",
    question: "compatibility",
    title: "Renaming a value of an enum",
    why: "The running release writes and compares with the old literal, and fails.",
    locks: "None on tables.",
    instead: "Add the new value, keep the old one.",
    contractable: true,
    example: {
      before: "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE users (id bigint PRIMARY KEY, mood mood);",
      unsafe: "ALTER TYPE mood RENAME VALUE 'glad' TO 'happy';",
      safe: "ALTER TYPE mood ADD VALUE 'happy';",
      proof: { kind: "fails", release: "INSERT INTO users (id, mood) VALUES (1, 'glad')" },
    },
    judges: {
      "rename-enum-value": ({ name, from, to }, context) =>
        objectBorn(context, "type", name)
          ? undefined
          : {
              message: `Releases that write or compare with '${from}' of ${qn(name)} fail once it is '${to}'.`,
              fix: `ALTER TYPE ${qn(name)} ADD VALUE '${to.replaceAll("'", "''")}';`,
              affects: [{ kind: "object", relation: name.name }],
            },
    },
  },
  {
    id: "type-attribute-change",
    level: "error",
    question: "compatibility",
    title: "Changing the attributes of a composite type",
    why: "The running release builds and reads rows of the type with the attributes as they were.",
    locks: "ACCESS EXCLUSIVE on the type; with CASCADE, on the tables of the type.",
    instead: "Make a new type.",
    contractable: true,
    example: {
      before: "CREATE TYPE address AS (street text, city text);",
      unsafe: "ALTER TYPE address ADD ATTRIBUTE country text;",
      safe: "CREATE TYPE address_2 AS (street text, city text, country text);",
      proof: { kind: "fails", release: "SELECT ROW('1 High St', 'Ely')::address" },
    },
    judges: {
      attribute: ({ name, verb, attribute }, context) =>
        objectBorn(context, "type", name)
          ? undefined
          : {
              message: `Releases build and read ${qn(name)} with its present attributes, and fail after ${verb} of ${q(attribute)}.`,
              fix: `Make a new type beside ${qn(name)}.`,
              affects: [{ kind: "object", relation: name.name }],
            },
    },
  },
  {
    id: "add-enum-value",
    level: "warn",
    question: "rollback",
    title: "Adding a value to an enum",
    why: "PostgreSQL can't take a value out again, and the previous release meets it once the new one has stored it.",
    locks: "None on tables.",
    instead: "Make sure that the previous release can handle the value before any release stores it.",
    contractable: false,
    example: {
      before: "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE users (id bigint PRIMARY KEY, mood mood);",
      unsafe: "ALTER TYPE mood ADD VALUE 'calm';",
      safe: "CREATE TYPE mood_2 AS ENUM ('glad', 'sad', 'calm');",
      proof: {
        kind: "irreversible",
        next: "INSERT INTO users (id, mood) VALUES (1, 'calm')",
        undo: "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('glad', 'sad'); ALTER TABLE users ALTER COLUMN mood TYPE mood USING mood::text::mood",
      },
    },
    judges: {
      "enum-value": ({ name, value }, context) =>
        objectBorn(context, "type", name)
          ? undefined
          : {
              message: `'${value}' can't be taken out of ${qn(name)} again, and the previous release may meet it.`,
              fix: "Make sure that the previous release can handle it before any release stores it.",
            },
    },
  },
  {
    id: "enum-value-in-transaction",
    level: "error",
    question: "locks",
    title: "A new value of an enum in the transaction that adds it",
    why: "PostgreSQL refuses to use the value before the transaction that added it has ended, so the migration fails.",
    locks: "None: the statement fails.",
    instead: "Add the value in one migration, use it in the next.",
    contractable: false,
    example: {
      before: "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE users (id bigint PRIMARY KEY, mood mood);",
      unsafe: "ALTER TYPE mood ADD VALUE 'calm'; INSERT INTO users VALUES (1, 'calm');",
      safe: "ALTER TYPE mood ADD VALUE 'calm';",
      proof: { kind: "refused" },
    },
    judges: {
      "new-enum-value": ({ value, type }) => ({
        message: `PostgreSQL refuses '${value}' of ${type} in the transaction that added it.`,
        fix: "Put this statement into the next migration.",
        locks: "none: the statement fails",
      }),
    },
  },
  {
    id: "sequence-reset",
    level: "error",
    question: "compatibility",
    title: "Setting a sequence to another value",
    why: "The running release takes ids from it at the same moment: ids that are given out twice fail as duplicate keys.",
    locks: "ACCESS EXCLUSIVE on the sequence for RESTART, none for setval().",
    instead: "Leave sequences of live tables alone.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigserial PRIMARY KEY, name text); INSERT INTO users (name) SELECT 'x' FROM generate_series(1, 10);",
      unsafe: "SELECT setval('users_id_seq', 1);",
      safe: "ALTER SEQUENCE users_id_seq CACHE 10;",
      proof: { kind: "fails", release: "INSERT INTO users (name) VALUES ('Ada')" },
    },
    judges: {
      sequence: ({ name, change }, context) =>
        change === "other" || ownedByBorn(context, name)
          ? undefined
          : { message: `Ids of ${qn(name)} are given out twice.`, fix: "Leave it out." },
      "set-identity": ({ table, column, restart }, context) =>
        restart && !context.createdHere(table)
          ? { message: `Ids of ${qn(table)}.${q(column)} are given out twice.`, fix: "Leave it out." }
          : undefined,
      call: ({ function: name, arguments: given }, context) => {
        if (name.name !== "setval") return undefined;
        const sequence = sequenceOf(context, given[0]);
        if (sequence && (ownedByBorn(context, sequence) || context.createdHere(sequence))) return undefined;
        return {
          message: `setval() on ${sequence ? qn(sequence) : "a sequence"} gives out ids twice while the running release takes some.`,
          fix: "Leave it out.",
        };
      },
    },
  },
);
