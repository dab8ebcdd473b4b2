import { constraintName } from "../postgres/catalogue/apply-table-ddl";
import type { ConstraintFact } from "../postgres/catalogue/catalogue";
import { isRedundantCheck } from "../postgres/catalogue/proofs";
import type { RuleContext } from "../postgres/run/rule-context";
import { canonical } from "../postgres/syntax/ast";
import { parenthesesAfter } from "../postgres/syntax/clause";
import { derivedName, type Name } from "../postgres/syntax/names";
import type { ColumnSpec, ConstraintSpec } from "../postgres/syntax/specs";
import type { RuleVerdict } from "../rule";
import { columnAlone } from "./support/column-text";
import { goesWithItsTable } from "./support/goes";
import { isKeyAdded, remadeConstraint } from "./support/remade";
import { defineRules, LATER, q, qn, steps, tableFacts } from "./support/rules";

const nameFor = (context: RuleContext, table: Name, constraint: ConstraintSpec): string =>
  constraintName(table.name, constraint, context.resolve(table).relation?.constraints ?? new Map());

/** NOT VALID first, VALIDATE apart. */
function notValidSteps(context: RuleContext, table: Name, constraint: ConstraintSpec, column?: ColumnSpec): string {
  const from = context.indexOf(constraint.location);
  const name = nameFor(context, table, constraint);
  const clause =
    constraint.kind === "check"
      ? `CHECK ${parenthesesAfter(context.text, from) ?? "(/* condition */)"}`
      : `FOREIGN KEY (${constraint.columns.map(q).join(", ")}) ${constraint.references?.text ?? ""}`;
  return steps(
    ...withColumn(context, table, column),
    ["New rows only.", `ALTER TABLE ${qn(table)} ADD CONSTRAINT ${q(name)} ${clause} NOT VALID;`],
    [
      "In a transaction of its own: the old rows, without blocking writes.",
      `ALTER TABLE ${qn(table)} VALIDATE CONSTRAINT ${q(name)};`,
    ],
  );
}

/** A constraint that is written with its column comes after that. */
function withColumn(context: RuleContext, table: Name, column: ColumnSpec | undefined): [title: string, sql: string][] {
  return column === undefined ? [] : [["The column alone.", columnAlone(context, table, column)]];
}

function uniqueSteps(
  context: RuleContext,
  table: Name,
  constraint: ConstraintSpec,
  column: ColumnSpec | undefined,
): string {
  const { kind, columns } = constraint;
  const name = nameFor(context, table, constraint);
  const replaced = replacedKey(context, table, constraint, name);
  const index = replaced === undefined ? name : derivedName(name, "new");
  const drop = replaced === undefined ? "" : `DROP CONSTRAINT ${q(replaced)}, `;
  return steps(
    ...withColumn(context, table, column),
    [
      "Without a transaction around it.",
      `CREATE UNIQUE INDEX CONCURRENTLY ${q(index)} ON ${qn(table)} (${columns.map(q).join(", ")});`,
    ],
    [
      replaced === undefined
        ? "The constraint takes the index over."
        : `The constraint takes the index over, in the place of ${q(replaced)}.`,
      `ALTER TABLE ${qn(table)} ${drop}ADD CONSTRAINT ${q(name)} ${kind === "primary" ? "PRIMARY KEY" : "UNIQUE"} USING INDEX ${q(index)};`,
    ],
  );
}

/** The key that must go first: of the same name, or the table's other primary key; the file drops it, or should. */
function replacedKey(context: RuleContext, table: Name, { kind }: ConstraintSpec, name: string): string | undefined {
  const { key, relation } = context.resolve(table);
  const constraints = [...(relation?.constraints.values() ?? [])];
  const primary = kind === "primary" ? constraints.find((other) => other.kind === "primary")?.name : undefined;
  const gone = context.droppedHere(`constraint ${key} ${name}`) ? name : undefined;
  return primary ?? constraints.find((other) => other.name === name)?.name ?? gone;
}

/** Scans of a table under a lock that keeps the application from it. */
function scanned(
  context: RuleContext,
  table: Name,
  constraint: ConstraintSpec,
  column?: ColumnSpec,
): RuleVerdict | undefined {
  const { kind } = constraint;
  const withDefault = column === undefined || column.default !== undefined;
  if (kind === "check")
    return {
      message: `Every row of ${qn(table)} is checked while nobody can read or write it.`,
      fix: notValidSteps(context, table, constraint, column),
      locks: `ACCESS EXCLUSIVE on ${qn(table)} while every row is scanned: blocks reads and writes`,
    };
  if (kind === "foreign" && withDefault)
    return {
      message: `Every row of ${qn(table)} is looked up in ${qn(constraint.references?.table ?? table)} while nobody can write to either.`,
      fix: notValidSteps(context, table, constraint, column),
    };
  return undefined;
}

export const constraintRules = defineRules(
  {
    id: "constraint-scan",
    level: "error",
    question: "locks",
    title: "A check or foreign key that scans all rows at once",
    why: "Without NOT VALID, PostgreSQL looks at every row while the statement's lock is held. A CHECK written with a new column does so as well; a REFERENCES written with a new column that may be NULL does not.",
    locks:
      "ACCESS EXCLUSIVE on the table for a check (blocks reads and writes), SHARE ROW EXCLUSIVE on both tables for a key (blocks writes), for as long as it takes to look at every row.",
    instead: "Add it NOT VALID, and VALIDATE it in a later transaction.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, age integer); INSERT INTO users SELECT generate_series(1, 1000), 5;",
      unsafe: "ALTER TABLE users ADD CONSTRAINT age_positive CHECK (age > 0);",
      safe: "ALTER TABLE users ADD CONSTRAINT age_positive CHECK (age > 0) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT age_positive;",
      transaction: "none",
      proof: { kind: "waits", release: "SELECT age FROM users WHERE id = 1" },
    },
    judges: {
      "add-constraint": ({ table, constraint }, context) => {
        const { born, relation } = tableFacts(context, table);
        if (born || constraint.notEnforced) return undefined;
        if (constraint.notValid && constraint.kind === "foreign" && relation?.partitionKey)
          return {
            message: `${qn(table)} is partitioned, and PostgreSQL takes no NOT VALID foreign key on such a table.`,
            fix: "Add the key to each partition NOT VALID, validate each, then add it to the parent.",
          };
        return constraint.notValid ? undefined : scanned(context, table, constraint);
      },
      "add-column": ({ table, column }, context) => {
        if (tableFacts(context, table).born) return undefined;
        for (const constraint of column.constraints) {
          const found = scanned(context, table, constraint, column);
          if (found) return found;
        }
        return undefined;
      },
    },
  },
  {
    id: "validate-in-transaction",
    level: "error",
    question: "locks",
    title: "VALIDATE in the transaction that added the constraint",
    why: "VALIDATE itself lets others write. But the lock of the statement that added the constraint is held until the transaction ends, so they wait all the same while every row is scanned.",
    locks: "What the transaction holds already: blocks writes, or reads and writes.",
    instead: "Put VALIDATE into a migration of its own.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, age integer); INSERT INTO users SELECT generate_series(1, 1000), 5;",
      unsafe:
        "ALTER TABLE users ADD CONSTRAINT age_positive CHECK (age > 0) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT age_positive;",
      safe: "ALTER TABLE users ADD CONSTRAINT age_positive CHECK (age > 0) NOT VALID;",
      proof: { kind: "waits", release: "SELECT age FROM users WHERE id = 1" },
    },
    judges: {
      "validate-constraint": ({ table, name }, context) => {
        const { born, relation, shown } = tableFacts(context, table);
        if (born) return undefined;
        const added = relation?.constraints.get(name)?.transaction === context.transaction;
        const held = context.held.find(({ mode }) =>
          /^(?:SHARE|SHARE ROW EXCLUSIVE|EXCLUSIVE|ACCESS EXCLUSIVE)$/.test(mode),
        );
        if (!added && held === undefined) return undefined;
        return {
          message: added
            ? `The lock that adding ${q(name)} took on ${shown} is still held while every row is scanned.`
            : `The lock on ${held?.on ?? shown} that line ${held?.line ?? 0} took is still held while every row of ${shown} is scanned.`,
          fix: `In a migration of its own:\nALTER TABLE ${shown} VALIDATE CONSTRAINT ${q(name)};`,
          ...(held && { locks: `${held.mode} on ${held.on} since line ${held.line}, until the transaction ends` }),
        };
      },
    },
  },
  {
    id: "unique-constraint",
    level: "error",
    question: "locks",
    title: "A unique or primary key that builds its index under a lock",
    why: "Building the index takes as long as the table is large, and nobody can read or write meanwhile.",
    locks: "ACCESS EXCLUSIVE on the table, for as long as it takes to build the index: blocks reads and writes.",
    instead: "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT ... USING INDEX.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, email text); INSERT INTO users SELECT n, n::text FROM generate_series(1, 1000) n;",
      unsafe: "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);",
      safe: "CREATE UNIQUE INDEX CONCURRENTLY users_email_key ON users (email); ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE USING INDEX users_email_key;",
      transaction: "none",
      proof: {
        kind: "waits",
        release: "UPDATE users SET email = 'a@b' WHERE id = 1",
        open: "UPDATE users SET email = 'b@c' WHERE id = 2",
      },
    },
    judges: {
      "add-constraint": ({ table, constraint }, context) =>
        tableFacts(context, table).born ? undefined : buildsIndex(context, table, constraint),
      "add-column": ({ table, column }, context) =>
        tableFacts(context, table).born
          ? undefined
          : column.constraints.map((constraint) => buildsIndex(context, table, constraint, column)).find(Boolean),
    },
  },
  {
    id: "exclusion-constraint",
    level: "error",
    question: "locks",
    title: "An exclusion constraint on an existing table",
    why: "It builds an index and looks at every row while nobody can read or write, and PostgreSQL has no way to do either beforehand.",
    locks: "ACCESS EXCLUSIVE on the table, for as long as it takes to build the index: blocks reads and writes.",
    instead: "Make a new table with the constraint and move the rows in batches.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE bookings (id bigint PRIMARY KEY, during tsrange); INSERT INTO bookings SELECT n, tsrange('2024-01-01'::timestamp + n * interval '1 day', '2024-01-02'::timestamp + n * interval '1 day') FROM generate_series(1, 1000) n;",
      unsafe: "ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&);",
      safe: "CREATE TABLE bookings_2 (id bigint PRIMARY KEY, during tsrange, EXCLUDE USING gist (during WITH &&));",
      proof: { kind: "waits", release: "SELECT during FROM bookings WHERE id = 1" },
    },
    judges: {
      "add-constraint": ({ table, constraint }, context) =>
        tableFacts(context, table).born || constraint.kind !== "exclude"
          ? undefined
          : {
              message: `An index over every row of ${qn(table)} is built while nobody can read or write it.`,
              fix: "Make a new table with the constraint, keep both in step, and move the rows in batches.",
            },
    },
  },
  {
    id: "tighten-constraint",
    level: "warn",
    question: "compatibility",
    title: "A constraint that new writes must meet",
    why: "NOT VALID leaves the old rows alone, but what the running release writes from then on is checked.",
    locks: "ACCESS EXCLUSIVE or SHARE ROW EXCLUSIVE on the table, for a moment.",
    instead: "Make sure that the running release writes nothing that the constraint refuses.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, age integer);",
      unsafe: "ALTER TABLE users ADD CONSTRAINT age_positive CHECK (age > 0) NOT VALID;",
      safe: "COMMENT ON COLUMN users.age IS 'above 0';",
      proof: { kind: "fails", release: "INSERT INTO users (id, age) VALUES (1, -1)" },
    },
    judges: {
      "add-constraint": ({ table, constraint }, context) => {
        const { born, relation } = tableFacts(context, table);
        if (born || !constraint.notValid) return undefined;
        const unknown =
          constraint.columns.length > 0 &&
          constraint.columns.every((column) => context.isCreatedHere(relation?.columns.get(column)?.createdAt));
        return unknown ? undefined : tightened(`${qn(table)} that ${q(nameFor(context, table, constraint))} refuses`);
      },
      "create-index": ({ table, unique, columns }, context) =>
        unique && !context.createdHere(table)
          ? tightened(`${qn(table)} that repeat ${columns.map(q).join(", ") || "a key"}`)
          : undefined,
      "alter-domain": ({ name, change, constraint }, context) => {
        const { type } = context.catalogue.type(name, context.searchPath);
        if (change !== "add-constraint" || constraint?.notValid !== true || context.isCreatedHere(type?.createdAt))
          return undefined;
        return tightened(`columns of domain ${qn(name)} that the new constraint refuses`);
      },
    },
  },
  {
    id: "drop-constraint",
    level: "error",
    question: "rollback",
    title: "Dropping a constraint",
    why: "The new release may store what the constraint refused. The previous release, restored, meets such rows, and the constraint can't be added again. ON CONFLICT on a dropped key fails at once.",
    locks:
      "ACCESS EXCLUSIVE on the table (and on the one that a key points to), for a moment: blocks reads and writes.",
    instead: "Do it when the release that relies on it is no longer kept for a rollback.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, email text CONSTRAINT users_email_key UNIQUE);",
      unsafe: "ALTER TABLE users DROP CONSTRAINT users_email_key;",
      safe: "COMMENT ON CONSTRAINT users_email_key ON users IS 'goes with release 43';",
      proof: {
        kind: "irreversible",
        next: "INSERT INTO users VALUES (1, 'a@b'), (2, 'a@b')",
        undo: "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email)",
      },
    },
    judges: {
      "drop-constraint": ({ table, name }, context) => {
        const { born, relation, shown } = tableFacts(context, table);
        if (born || context.isCreatedHere(relation?.constraints.get(name)?.createdAt)) return undefined;
        if (isRedundantCheck(relation, name)) return undefined;
        const fact = relation?.constraints.get(name);
        if (goesWithItsTable(context, table, fact?.columns)) return undefined;
        if (fact?.kind === "unique" && hasTwin(context, table, fact)) return undefined;
        const remade = fact && remadeConstraint(context, table, fact);
        if (remade) return changedConstraint(context, table, fact, remade);
        return {
          message: `The previous release, restored, meets rows in ${shown} that ${q(name)} kept out.`,
          fix: `${LATER}\nALTER TABLE ${shown} DROP CONSTRAINT ${q(name)};`,
          affects: [{ kind: "object", relation: name }],
        };
      },
      "alter-domain": ({ name, change }, context) => {
        const { type } = context.catalogue.type(name, context.searchPath);
        if (change !== "drop-constraint" || context.isCreatedHere(type?.createdAt)) return undefined;
        return {
          message: `The previous release, restored, meets values that domain ${qn(name)} kept out.`,
          fix: LATER,
        };
      },
    },
  },
  {
    id: "domain-constraint",
    level: "error",
    question: "locks",
    title: "A constraint on a domain that is in use",
    why: "PostgreSQL looks at every row of every table that has a column of the domain, with a lock on all of them.",
    locks: "SHARE on every table that uses the domain, for as long as it takes to look at every row: blocks writes.",
    instead: "Put CHECK ... NOT VALID constraints on the columns, or add the domain's NOT VALID.",
    contractable: false,
    example: {
      before:
        "CREATE DOMAIN email AS text; CREATE TABLE users (id bigint PRIMARY KEY, email email); INSERT INTO users SELECT n, 'a@b' FROM generate_series(1, 1000) n;",
      unsafe: "ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (VALUE LIKE '%@%');",
      safe: "ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (VALUE LIKE '%@%') NOT VALID;",
      proof: { kind: "waits", release: "UPDATE users SET email = 'c@d' WHERE id = 1" },
    },
    judges: {
      "alter-domain": ({ name, change, constraint }, context) => {
        const { type } = context.catalogue.type(name, context.searchPath);
        if (context.isCreatedHere(type?.createdAt)) return undefined;
        const looks =
          change === "validate" ||
          change === "set-not-null" ||
          (change === "add-constraint" && constraint?.notValid !== true);
        if (!looks) return undefined;
        return {
          message: `Every row of every table that uses domain ${qn(name)} is scanned, with writes to all of them blocked.`,
          fix: "Put the check on the columns instead: ALTER TABLE ... ADD CONSTRAINT ... CHECK (...) NOT VALID, then VALIDATE CONSTRAINT.",
          locks: `SHARE on every table with a column of ${qn(name)}: blocks writes`,
        };
      },
    },
  },
);

/** Whether another key over the same columns is there, or comes: it refuses the same rows, and ON CONFLICT finds it. */
function hasTwin(context: RuleContext, table: Name, { name, columns }: ConstraintFact): boolean {
  const { key, relation } = context.resolve(table);
  const sorted = [...columns].sort().join();
  const isTwin = (other: ConstraintFact) =>
    other.name !== name &&
    other.spec.deferrable === "no" &&
    /^(?:unique|primary)$/.test(other.kind) &&
    [...other.columns].sort().join() === sorted;
  return [...(relation?.constraints.values() ?? [])].some(isTwin) || isKeyAdded(context, key, columns);
}

/** The difference that a constraint makes which takes the place of another one over the same columns. */
function changedConstraint(
  context: RuleContext,
  table: Name,
  fact: ConstraintFact,
  remade: ConstraintSpec,
): RuleVerdict | undefined {
  const { references } = remade;
  const refuses = references?.onDelete === "no-action" || references?.onDelete === "restrict";
  if (refuses && fact.onDelete !== "no-action" && fact.onDelete !== "restrict")
    return {
      question: "compatibility",
      message: `Deletes of the running release that ${q(fact.name)} of ${qn(table)} let through are refused, since it comes back without ON DELETE ${(fact.onDelete ?? "").replace("-", " ").toUpperCase()}.`,
      fix: "Keep what it does on delete until no release relies on it.",
    };
  const changes = changesOf(context, fact, remade);
  if (changes.length > 0)
    return {
      question: "compatibility",
      // Keys whose change was refused may be changed from then on.
      ...(changes.join() === "ON UPDATE" && references?.onUpdate === "cascade" && { level: "warn" as const }),
      message: `Writes of the running release to ${qn(table)} meet another ${q(fact.name)}, since it comes back with another ${changes.join(", ")}.`,
      fix: "Make it again as it was until no release relies on it.",
    };
  if (fact.kind !== "check" || canonical(fact.expression) === canonical(remade.expression)) return undefined;
  return {
    level: "warn",
    message: `The previous release, restored, may meet values in ${qn(table)} that ${q(fact.name)} kept out as it was.`,
    fix: "Make sure that the previous release can handle them before any release stores them.",
  };
}

/** All in which a constraint differs from the one that takes its place, beside its name, columns and expression. */
function changesOf(
  context: RuleContext,
  { spec: was, columns, references }: ConstraintFact,
  is: ConstraintSpec,
): string[] {
  const pairs = (own: readonly string[], { references: to }: ConstraintSpec): string => {
    const key = [...(context.catalogue.relations.get(references ?? "")?.constraints.values() ?? [])].find(
      ({ kind }) => kind === "primary",
    );
    const target = to?.columns.length === 0 ? (key?.columns ?? []) : (to?.columns ?? []);
    return own
      .map((column, index) => `${column} ${target[index] ?? "?"}`)
      .sort()
      .join();
  };
  const [from, to] = [was.references, is.references];
  const differences: Readonly<Record<string, boolean>> = {
    "referenced column": to !== undefined && pairs(columns, was) !== pairs(is.columns, is),
    MATCH: from?.full !== to?.full,
    "ON DELETE":
      from?.onDelete !== to?.onDelete || [...(from?.setColumns ?? [])].join() !== [...(to?.setColumns ?? [])].join(),
    "ON UPDATE": from?.onUpdate !== to?.onUpdate,
    DEFERRABLE: was.deferrable !== is.deferrable,
    "NULLS NOT DISTINCT": was.nullsNotDistinct !== is.nullsNotDistinct,
    ENFORCED: was.notEnforced !== is.notEnforced,
    "operator or condition": was.exclusion !== is.exclusion,
  };
  return Object.keys(differences).filter((difference) => differences[difference]);
}

function buildsIndex(
  context: RuleContext,
  table: Name,
  constraint: ConstraintSpec,
  column?: ColumnSpec,
): RuleVerdict | undefined {
  if (constraint.kind !== "unique" && constraint.kind !== "primary") return undefined;
  if (constraint.usingIndex !== undefined) return undefined;
  return {
    message: `The index over ${qn(table)} (${constraint.columns.map(q).join(", ")}) is built while nobody can read or write the table.`,
    fix: uniqueSteps(context, table, constraint, column),
    locks: `ACCESS EXCLUSIVE on ${qn(table)} while the index is built: blocks reads and writes`,
  };
}

const tightened = (what: string): RuleVerdict => ({
  message: `Writes of the running release to ${what} fail from then on.`,
  fix: "Make sure that no running release writes such rows.",
});
