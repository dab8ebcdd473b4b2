import { isProvenNotNull } from "../postgres/catalogue/proofs";
import { whyRewritten } from "../postgres/read/retype";
import { natureOf, volatileIn } from "../postgres/read/volatility";
import type { RuleContext } from "../postgres/run/rule-context";
import { stripCasts } from "../postgres/syntax/ast";
import type { Name } from "../postgres/syntax/names";
import type { ColumnSpec } from "../postgres/syntax/specs";
import { typeText } from "../postgres/syntax/types";
import { defaultText } from "./column-text";
import { pairedSteps, retypedPair } from "./paired-column";
import {
  affectsColumn,
  batchUpdate,
  columnFacts,
  defineRules,
  LATER,
  q,
  qn,
  requireSteps,
  steps,
  tableFacts,
} from "./support";

function isNullDefault({ default: value }: ColumnSpec): boolean {
  const inner = value && stripCasts(value);
  return inner !== undefined && "A_Const" in inner && inner.A_Const.isnull === true;
}

/** The three migrations that bring a column which the old release does not know, and end with it being required. */
function requiredColumnSteps(table: Name, column: string, type: string): string {
  const [t, c] = [qn(table), q(column)];
  const check = q(`${table.name}_${column}_not_null`);
  return steps(
    [
      "Expand: a column that may be empty; release the code that writes it.",
      `ALTER TABLE ${t} ADD COLUMN ${c} ${type};`,
    ],
    [
      "When no release that omits it is left: fill it in batches, each in its own transaction, and check new rows.",
      `UPDATE ${t} SET ${c} = /* value */ WHERE ${c} IS NULL AND /* key */ BETWEEN /* from */ AND /* to */;`,
      `ALTER TABLE ${t} ADD CONSTRAINT ${check} CHECK (${c} IS NOT NULL) NOT VALID;`,
    ],
    [
      "Contract, without a transaction around it: look at the rows without blocking them, then require it.",
      `ALTER TABLE ${t} VALIDATE CONSTRAINT ${check};`,
      `ALTER TABLE ${t} ALTER COLUMN ${c} SET NOT NULL;`,
      `ALTER TABLE ${t} DROP CONSTRAINT ${check};`,
    ],
  );
}

function notNullSteps(table: Name, column: string): string {
  return steps(...requireSteps(table, column));
}

export const columnRules = defineRules(
  {
    id: "drop-column",
    level: "error",
    question: "compatibility",
    title: "Dropping a column that the running release uses",
    why: "Releases that still run name the column in their queries, or read it by SELECT *, and fail as soon as it is gone. Its values are lost, so the old release can't be brought back either.",
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
  {
    id: "add-required-column",
    level: "error",
    question: "compatibility",
    title: "Adding a column that every insert must fill",
    why: "The running release does not know the column, so its inserts leave it out and fail. Where the table has rows, the statement itself fails as well.",
    locks: "ACCESS EXCLUSIVE on the table: blocks reads and writes.",
    instead: "Give it NOT NULL with a constant default that stays, or take three migrations: add, fill, require.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text);",
      unsafe: "ALTER TABLE users ADD COLUMN country text NOT NULL;",
      safe: "ALTER TABLE users ADD COLUMN country text NOT NULL DEFAULT 'unknown';",
      proof: { kind: "fails", release: "INSERT INTO users (id, name) VALUES (1, 'Ada')" },
    },
    judges: {
      "add-column": ({ table, column }, context) => {
        if (tableFacts(context, table).born || !column.notNull) return undefined;
        if (column.serial || column.identity || column.generated) return undefined;
        if (column.default !== undefined && !isNullDefault(column)) return undefined;
        const type = typeText(column.type);
        return {
          message: `Inserts of the running release leave ${q(column.name)} out of ${qn(table)}, and fail because it must not be NULL.`,
          fix: `-- Where one constant suits all rows:\nALTER TABLE ${qn(table)} ADD COLUMN ${q(column.name)} ${type} NOT NULL DEFAULT /* constant */;\n-- Otherwise three migrations:\n${requiredColumnSteps(table, column.name, type)}`,
        };
      },
    },
  },
  {
    id: "cached-plan",
    level: "warn",
    question: "compatibility",
    title: "Adding a column under prepared SELECT *",
    why: "A statement that the running release prepared as SELECT * gives one column more afterwards. PostgreSQL refuses to run it again on that connection: cached plan must not change result type.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead: "Name columns in queries, or let the driver prepare again after that error.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text);",
      unsafe: "ALTER TABLE users ADD COLUMN nick text;",
      safe: "CREATE TABLE user_nicks (user_id bigint PRIMARY KEY, nick text);",
      proof: { kind: "fails", release: "SELECT * FROM users", prepared: true },
    },
    judges: {
      "add-column": ({ table, column }, context) =>
        tableFacts(context, table).born
          ? undefined
          : {
              message: `A prepared SELECT * on ${qn(table)} fails once with "cached plan must not change result type" when it gains ${q(column.name)}.`,
              fix: "Nothing here; the running release should name its columns, or prepare again after that error.",
            },
    },
  },
  {
    id: "volatile-default",
    level: "error",
    question: "locks",
    title: "A new column whose default differs from row to row",
    why: "PostgreSQL stores a default that it can compute once without touching the rows. A volatile one, such as random() or gen_random_uuid(), is computed for each row, so the whole table is written anew under a lock.",
    locks: "ACCESS EXCLUSIVE on the table, for as long as it takes to write it anew: blocks reads and writes.",
    instead: "Add the column without the default, set the default for new rows, and fill the old ones in batches.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 1000);",
      unsafe: "ALTER TABLE users ADD COLUMN token uuid DEFAULT gen_random_uuid();",
      safe: "ALTER TABLE users ADD COLUMN token uuid; ALTER TABLE users ALTER COLUMN token SET DEFAULT gen_random_uuid();",
      proof: { kind: "waits", release: "SELECT id FROM users WHERE id = 1" },
    },
    judges: {
      "add-column": ({ table, column }, context) => {
        if (tableFacts(context, table).born || column.default === undefined) return undefined;
        const volatile = volatileIn(column.default, context.catalogue, context.searchPath);
        if (volatile === undefined) return undefined;
        const [t, c] = [qn(table), q(column.name)];
        const value = defaultText(context, column);
        return {
          message: `The default of ${t}.${c} is computed for every row (${volatile}), so the whole table is written anew under a lock.`,
          fix: steps(
            [
              "New rows get the default, old ones stay empty.",
              `ALTER TABLE ${t} ADD COLUMN ${c} ${typeText(column.type)};`,
              `ALTER TABLE ${t} ALTER COLUMN ${c} SET DEFAULT ${value};`,
            ],
            ["Fill the old ones in batches, each in its own transaction.", batchUpdate(table, column.name, value)],
            ...(column.notNull ? requireSteps(table, column.name) : []),
          ),
        };
      },
    },
  },
  {
    id: "generated-column",
    level: "error",
    question: "locks",
    title: "A serial, identity or stored generated column on an existing table",
    why: "Each row that is there needs its own value, so PostgreSQL writes the whole table anew under a lock.",
    locks: "ACCESS EXCLUSIVE on the table, for as long as it takes to write it anew: blocks reads and writes.",
    instead: "Add a plain column, let a default or a trigger fill new rows, and fill the old ones in batches.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, name text); INSERT INTO users SELECT generate_series(1, 1000), 'x';",
      unsafe: "ALTER TABLE users ADD COLUMN number bigserial;",
      safe: "ALTER TABLE users ADD COLUMN number bigint; CREATE SEQUENCE users_number_seq OWNED BY users.number; ALTER TABLE users ALTER COLUMN number SET DEFAULT nextval('users_number_seq');",
      proof: { kind: "waits", release: "SELECT id FROM users WHERE id = 1" },
    },
    judges: {
      "add-column": ({ table, column }, context) => {
        if (tableFacts(context, table).born) return undefined;
        const what = column.serial
          ? "serial"
          : column.identity
            ? "an identity"
            : column.generated && `a ${column.generated} generated column`;
        if (!what) return undefined;
        const [t, c] = [qn(table), q(column.name)];
        const sequence = `${table.name}_${column.name}_seq`;
        const type = typeText(column.type);
        const [filler, value] = column.generated
          ? [["-- a BEFORE INSERT OR UPDATE trigger that computes it"], "/* expression */"]
          : [
              [
                `CREATE SEQUENCE ${qn({ ...table, name: sequence })} OWNED BY ${t}.${c};`,
                `ALTER TABLE ${t} ALTER COLUMN ${c} SET DEFAULT nextval('${qn({ ...table, name: sequence })}');`,
              ],
              `nextval('${qn({ ...table, name: sequence })}')`,
            ];
        return {
          message:
            column.generated === "virtual"
              ? `Virtual generated columns such as ${t}.${c} are of PostgreSQL 18; older servers refuse the statement.`
              : `${t}.${c} is ${what}, so every row gets its value now, and the whole table is written anew under a lock.`,
          fix: steps(
            ["A plain column that new rows fill.", `ALTER TABLE ${t} ADD COLUMN ${c} ${type};`, ...filler],
            ["Fill the old rows in batches, each in its own transaction.", batchUpdate(table, column.name, value)],
            ...(column.notNull ? requireSteps(table, column.name) : []),
          ),
        };
      },
    },
  },
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
    why: "The new release may store NULLs. The previous release, brought back, meets values that it never had to handle, and the column can't be required again while they are there.",
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
        if (columnBorn || known?.notNull === false) return undefined;
        return {
          message: `The previous release, brought back, meets NULLs in ${shown}.${q(column)} that it never had to handle.`,
          fix: `${LATER}\nALTER TABLE ${shown} ALTER COLUMN ${q(column)} DROP NOT NULL;`,
          affects: affectsColumn(context, table, column),
        };
      },
      "alter-domain": ({ name, change }, context) =>
        change !== "drop-not-null" || domainBorn(context, name)
          ? undefined
          : {
              message: `The previous release, brought back, meets NULLs in columns of domain ${qn(name)}.`,
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
  {
    id: "domain-column",
    level: "error",
    question: "locks",
    title: "A new column of a domain that checks its values",
    why: "PostgreSQL runs a domain's checks for every row that is there, so it writes the whole table anew under a lock. A type that nothing is known of may be such a domain.",
    locks: "ACCESS EXCLUSIVE on the table, for as long as it takes to write it anew: blocks reads and writes.",
    instead:
      "Use the type under the domain, with a CHECK ... NOT VALID on the column; or make the type known by --schema.",
    contractable: false,
    example: {
      before:
        "CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%'); CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 1000);",
      unsafe: "ALTER TABLE users ADD COLUMN contact email;",
      safe: "ALTER TABLE users ADD COLUMN contact text;",
      proof: { kind: "waits", release: "SELECT id FROM users WHERE id = 1" },
    },
    judges: {
      "add-column": ({ table, column }, context) => {
        if (tableFacts(context, table).born) return undefined;
        const nature = natureOf(column.type, context.catalogue, context.searchPath);
        if (nature === "plain") return undefined;
        const [t, c, type] = [qn(table), q(column.name), typeText(column.type)];
        return {
          message:
            nature === "unknown"
              ? `Nothing is known of the type ${type} of ${t}.${c}: were it a domain that checks its values, the whole table would be written anew under a lock.`
              : `The domain ${type} checks its values, so a column ${t}.${c} of it writes the whole table anew under a lock.`,
          fix:
            nature === "unknown"
              ? "Make the type known: give the schema by --schema, or the migration that creates it before this one."
              : `ALTER TABLE ${t} ADD COLUMN ${c} /* the domain's type */;\nALTER TABLE ${t} ADD CHECK (/* the domain's check of ${c} */) NOT VALID;`,
        };
      },
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
    message: `${prefix}Releases that write NULL to ${shown}.${q(column)}${columnBorn ? ", or do not know it," : ""} fail, and no validated check shows that there is none, so every row is looked at under a lock.`,
    fix: notNullSteps(table, column),
    affects: affectsColumn(context, table, column),
  };
}
