import { isProvenNotNull } from "../postgres/catalogue/proofs";
import { whyRewritten } from "../postgres/read/retype";
import type { RuleContext } from "../postgres/run/rule-context";
import type { Name } from "../postgres/syntax/names";
import { typeText } from "../postgres/syntax/types";
import { goesWithItsTable } from "./support/goes";
import { pairedSteps, retypedPair } from "./support/paired-column";
import { isDefaultRemade } from "./support/remade";
import {
  affectsColumn,
  columnFacts,
  defineRules,
  LATER,
  q,
  qn,
  requireSteps,
  steps,
  tableFacts,
} from "./support/rules";

/** Version of PostgreSQL that has NOT NULL as a constraint with a name, and NOT VALID. */
const NOT_NULL_CONSTRAINTS = 18;

export const alteredColumnRules = defineRules(
  {
    id: "drop-default",
    level: "error",
    question: "compatibility",
    title: "Dropping the default of a required column",
    why: "The running release leaves the column out of its inserts and relies on the default. Without it the column becomes NULL, and the insert fails or stores what the new release does not expect.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead: "Keep the default until no release that omits the column is left.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, country text NOT NULL DEFAULT 'unknown');",
      unsafe: "ALTER TABLE users ALTER COLUMN country DROP DEFAULT;",
      safe: "ALTER TABLE users ALTER COLUMN country SET DEFAULT 'none';",
      proof: { kind: "fails", release: "INSERT INTO users (id) VALUES (1)" },
    },
    judges: {
      "drop-default": ({ table, column }, context) => {
        const { born, column: known, shown } = columnFacts(context, table, column);
        if (born || known?.notNull === false || known?.hasDefault === false) return undefined;
        if (isDefaultRemade(context, table, column) || goesWithItsTable(context, table, [column])) return undefined;
        return {
          message: `Inserts of releases that leave ${shown}.${q(column)} out give NULL instead of its default, and fail where it is required.`,
          fix: `${LATER}\nALTER TABLE ${shown} ALTER COLUMN ${q(column)} DROP DEFAULT;`,
          affects: affectsColumn(context, table, column),
        };
      },
      "alter-domain": ({ name, change }, context) =>
        change !== "drop-default" || domainBorn(context, name)
          ? undefined
          : {
              message: `Inserts that leave out columns of domain ${qn(name)} give NULL instead of its default.`,
              fix: `${LATER}\nALTER DOMAIN ${qn(name)} DROP DEFAULT;`,
            },
    },
  },
  {
    id: "change-column-type",
    level: "error",
    question: "compatibility",
    title: "Changing a column's type",
    why: "The running release's driver reads and writes the old type: another one decodes to something else, and a narrower one refuses its values. Unless PostgreSQL can keep the rows as they are, it also writes the whole table anew under a lock.",
    locks:
      "ACCESS EXCLUSIVE on the table, for as long as it takes to write it and its indexes anew: blocks reads and writes.",
    instead:
      "Add a column of the new type, keep both in step by a trigger that goes both ways, fill the new one in batches, move the code, and drop the trigger and the old column in a contract migration. The new column keeps its name: choose one to stay.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id integer PRIMARY KEY, name varchar(50)); INSERT INTO users SELECT generate_series(1, 1000), 'x';",
      unsafe: "ALTER TABLE users ALTER COLUMN id TYPE bigint;",
      safe: "ALTER TABLE users ALTER COLUMN name TYPE varchar(100);",
      proof: { kind: "differs", release: "SELECT id, name FROM users WHERE id = 1" },
    },
    judges: {
      "change-type": (action, context) => {
        const { table, column, type } = action;
        const { born, columnBorn, shown } = columnFacts(context, table, column);
        if (born) return undefined;
        const reason = whyRewritten(action, context);
        if (reason === undefined) return undefined;
        const c = q(column);
        return {
          ...(columnBorn && { question: "locks" as const }),
          message: columnBorn
            ? `Retyping ${shown}.${c} writes the table anew, whose rows were there before: ${reason}.`
            : `Releases that use ${shown}.${c} read and write its old type, and it can't become ${typeText(type)} in place: ${reason}.`,
          fix: columnBorn
            ? `Add the column with its final type: ALTER TABLE ${shown} ADD COLUMN ${c} ${typeText(type)};`
            : pairedSteps(context, retypedPair(context, action)),
          affects: affectsColumn(context, table, column),
        };
      },
    },
  },
  {
    id: "set-not-null",
    level: "error",
    question: "compatibility",
    title: "Making a column required",
    why: "The running release may still write NULL, and fails from then on. Without a validated check that proves it, PostgreSQL also looks at every row under a lock.",
    locks: "ACCESS EXCLUSIVE on the table, for as long as it takes to look at every row: blocks reads and writes.",
    instead:
      "CHECK (column IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT in its own transaction, then SET NOT NULL.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, email text); INSERT INTO users SELECT generate_series(1, 1000), 'x';",
      unsafe: "ALTER TABLE users ALTER COLUMN email SET NOT NULL;",
      safe: "ALTER TABLE users ADD CONSTRAINT users_email_not_null CHECK (email IS NOT NULL) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT users_email_not_null; ALTER TABLE users ALTER COLUMN email SET NOT NULL;",
      transaction: "none",
      proof: { kind: "waits", release: "SELECT email FROM users WHERE id = 1" },
    },
    judges: {
      "set-not-null": ({ table, column }, context) => requires(table, column, "", context),
      "add-constraint": ({ table, constraint }, context) => {
        if (constraint.kind === "not-null") {
          const [column = ""] = constraint.columns;
          if (context.version !== undefined && context.version < NOT_NULL_CONSTRAINTS)
            return {
              question: "locks",
              message: `PostgreSQL ${context.version} has no NOT NULL constraints: they are of ${NOT_NULL_CONSTRAINTS}, so the statement fails.`,
              fix: steps(...requireSteps(table, column)),
              locks: "none: the statement fails",
            };
          // Rows are looked at by VALIDATE; `tighten-constraint` warns of new ones.
          if (constraint.notValid && context.version !== undefined) return undefined;
          return requires(table, column, "", context);
        }
        if (constraint.kind !== "primary" || constraint.usingIndex === undefined) return undefined;
        const { born, relation } = tableFacts(context, table);
        if (born) return undefined;
        const index = context.resolve({ ...table, name: constraint.usingIndex }).relation?.index;
        const columns = index?.columns ?? [];
        const open = columns.filter((column) => !isKnownNotNull(relation, column));
        if (index && columns.length > 0 && open.length === 0) return undefined;
        const [column] = open;
        if (column !== undefined) return requires(table, column, "A primary key makes its columns required. ", context);
        return {
          message: `A primary key on ${qn(table)} makes the columns of ${q(constraint.usingIndex)} required, and nothing shows that they are already.`,
          fix: "Make each of its columns NOT NULL first: CHECK (column IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT, SET NOT NULL.",
        };
      },
    },
  },
  {
    id: "drop-not-null",
    level: "error",
    question: "rollback",
    title: "Allowing NULL in a required column",
    why: "The new release may store NULLs. The previous release, restored, meets values that it never had to handle, and the column can't be required again while they are there.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead: "Do it when the release before the one that can handle NULL is no longer kept for a rollback.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL);",
      unsafe: "ALTER TABLE users ALTER COLUMN email DROP NOT NULL;",
      safe: "ALTER TABLE users ALTER COLUMN email SET DEFAULT '';",
      proof: {
        kind: "irreversible",
        next: "INSERT INTO users (id) VALUES (1)",
        undo: "ALTER TABLE users ALTER COLUMN email SET NOT NULL",
      },
    },
    judges: {
      "drop-not-null": ({ table, column }, context) => {
        const { columnBorn, column: known, shown } = columnFacts(context, table, column);
        if (columnBorn || known?.notNull === false || goesWithItsTable(context, table, [column])) return undefined;
        return {
          message: `The previous release, restored, meets NULLs in ${shown}.${q(column)} that it never had to handle.`,
          fix: `${LATER}\nALTER TABLE ${shown} ALTER COLUMN ${q(column)} DROP NOT NULL;`,
          affects: affectsColumn(context, table, column),
        };
      },
      "alter-domain": ({ name, change }, context) =>
        change !== "drop-not-null" || domainBorn(context, name)
          ? undefined
          : {
              message: `The previous release, restored, meets NULLs in columns of domain ${qn(name)}.`,
              fix: `${LATER}\nALTER DOMAIN ${qn(name)} DROP NOT NULL;`,
            },
    },
  },
  {
    id: "identity-change",
    level: "error",
    question: "compatibility",
    title: "Changing how a column's value comes about",
    why: "GENERATED ALWAYS refuses ids that the running release gives; without the identity, or the expression, the values that it leaves out are missing.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead: "GENERATED BY DEFAULT takes both; drop an identity or expression in a contract migration.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text);",
      unsafe: "ALTER TABLE users ALTER COLUMN id SET GENERATED ALWAYS;",
      safe: "ALTER TABLE users ALTER COLUMN id SET GENERATED BY DEFAULT;",
      proof: { kind: "fails", release: "INSERT INTO users (id, name) VALUES (5, 'Ada')" },
    },
    judges: {
      "add-identity": ({ table, column, always }, context) =>
        always
          ? identity(context, table, column, "refuses ids that releases give", "ADD GENERATED BY DEFAULT AS IDENTITY")
          : undefined,
      "set-identity": ({ table, column, always }, context) =>
        always && columnFacts(context, table, column).column?.generated !== "always"
          ? identity(context, table, column, "refuses ids that releases give", "SET GENERATED BY DEFAULT")
          : undefined,
      "drop-identity": ({ table, column }, context) =>
        identity(context, table, column, "no longer fills the ids that releases leave out", undefined),
      "drop-expression": ({ table, column }, context) =>
        identity(context, table, column, "no longer computes what releases leave out", undefined),
    },
  },
);

function domainBorn(context: RuleContext, name: Name): boolean {
  const { type } = context.catalogue.type(name, context.searchPath);
  return context.isCreatedHere(type?.createdAt);
}

function identity(context: RuleContext, table: Name, column: string, does: string, instead: string | undefined) {
  const { columnBorn, shown } = columnFacts(context, table, column);
  if (columnBorn) return undefined;
  return {
    message: `${shown}.${q(column)} ${does}.`,
    fix: instead === undefined ? LATER : `ALTER TABLE ${shown} ALTER COLUMN ${q(column)} ${instead};`,
    affects: affectsColumn(context, table, column),
  };
}

function isKnownNotNull(relation: ReturnType<typeof tableFacts>["relation"], column: string): boolean {
  return relation?.columns.get(column)?.notNull === true || isProvenNotNull(relation, column);
}

function requires(table: Name, column: string, prefix: string, context: RuleContext) {
  const { born, relation, shown, columnBorn } = columnFacts(context, table, column);
  if (born || isKnownNotNull(relation, column)) return undefined;
  return {
    message: `${prefix}Releases that write NULL to ${shown}.${q(column)}${columnBorn ? ", or do not know it," : ""} fail, and no validated check shows that there is none, so every row is scanned under a lock.`,
    fix: steps(...requireSteps(table, column)),
    affects: affectsColumn(context, table, column),
  };
}
