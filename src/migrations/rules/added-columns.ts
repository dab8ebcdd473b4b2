import { natureOf, volatileIn } from "../postgres/read/volatility";
import { stripCasts } from "../postgres/syntax/ast";
import type { Name } from "../postgres/syntax/names";
import type { ColumnSpec } from "../postgres/syntax/specs";
import { typeText } from "../postgres/syntax/types";
import { defaultText } from "./support/column-text";
import { batchUpdate, defineRules, q, qn, requireSteps, steps, tableFacts } from "./support/rules";

/** Version of PostgreSQL that has virtual generated columns. */
const VIRTUAL_COLUMNS = 18;

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

export const addedColumnRules = defineRules(
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
    oncePerFile: true,
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
        // It is computed when it is read.
        if (column.generated === "virtual" && (context.version ?? 0) >= VIRTUAL_COLUMNS) return undefined;
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
              ? `Virtual generated columns such as ${t}.${c} are of PostgreSQL ${VIRTUAL_COLUMNS}; older servers refuse the statement.`
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
