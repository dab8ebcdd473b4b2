import type { Relation } from "../postgres/catalogue/catalogue";
import type { RuleContext } from "../postgres/run/rule-context";
import { isUniqueRemade } from "./support/remade";
import { defineRules, LATER, qn, tableFacts } from "./support/rules";

/** The statement with CONCURRENTLY where it belongs. */
function concurrently(context: RuleContext, after: RegExp, otherwise: string): string {
  const text = context.text.trim();
  const rewritten = text.replace(after, (head) => `${head} CONCURRENTLY`);
  return `In a migration without a transaction around it:\n${rewritten === text ? otherwise : `${rewritten};`}`;
}

const isUnique = (relation: Relation | undefined): boolean => relation?.index?.unique === true;

/** Another unique index over the same columns, which ON CONFLICT can use as well. */
function hasTwin(context: RuleContext, key: string, { index }: Relation): boolean {
  if (index === undefined || index.columns.length === 0) return false;
  const columns = [...index.columns].sort().join();
  return context.catalogue
    .indexesOf(index.table)
    .some(
      ([other, { index: twin }]) =>
        other !== key &&
        twin.unique &&
        !twin.partial &&
        !twin.expressions &&
        [...twin.columns].sort().join() === columns,
    );
}

export const indexRules = defineRules(
  {
    id: "create-index",
    level: "error",
    question: "locks",
    title: "Creating an index without CONCURRENTLY",
    why: "Nobody can write to the table until the index is built.",
    locks: "SHARE on the table, for as long as it takes to build the index: blocks writes.",
    instead: "CREATE INDEX CONCURRENTLY, in a migration without a transaction around it.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, name text); INSERT INTO users SELECT n, n::text FROM generate_series(1, 1000) n;",
      unsafe: "CREATE INDEX users_name ON users (name);",
      safe: "CREATE INDEX CONCURRENTLY users_name ON users (name);",
      transaction: "none",
      proof: {
        kind: "waits",
        release: "UPDATE users SET name = 'Ada' WHERE id = 1",
        open: "UPDATE users SET name = 'Bo' WHERE id = 2",
      },
    },
    judges: {
      "create-index": ({ table, concurrently: online, only }, context) => {
        const { born, relation, shown } = tableFacts(context, table);
        if (born) return undefined;
        const partitioned = relation?.partitionKey !== undefined;
        if (online)
          return partitioned
            ? {
                message: `${shown} is partitioned, and PostgreSQL builds no index on such a table concurrently.`,
                fix: `CREATE INDEX /* name */ ON ONLY ${shown} (...); then CREATE INDEX CONCURRENTLY on each partition, and ALTER INDEX ... ATTACH PARTITION.`,
              }
            : undefined;
        // On the parent alone it is made in the catalogue, to be completed by the partitions' own.
        if (only && partitioned) return undefined;
        return {
          message: `Nobody can write to ${shown} until the index is built.`,
          fix: partitioned
            ? `CREATE INDEX /* name */ ON ONLY ${shown} (...); then CREATE INDEX CONCURRENTLY on each partition, and ALTER INDEX ... ATTACH PARTITION.`
            : concurrently(
                context,
                /^create\s+(?:unique\s+)?index\b/i,
                `CREATE INDEX CONCURRENTLY ... ON ${shown} ...;`,
              ),
          locks: `SHARE on ${shown} while the index is built: blocks writes`,
        };
      },
    },
  },
  {
    id: "drop-index",
    level: "error",
    question: "locks",
    title: "Dropping an index without CONCURRENTLY",
    why: "It waits for every query on the table, and keeps all others out while it waits and drops.",
    locks: "ACCESS EXCLUSIVE on the table: blocks reads and writes.",
    instead: "DROP INDEX CONCURRENTLY, one index at a time, in a migration without a transaction around it.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, name text); INSERT INTO users SELECT n, n::text FROM generate_series(1, 1000) n; CREATE INDEX users_name ON users (name);",
      unsafe: "DROP INDEX users_name;",
      safe: "DROP INDEX CONCURRENTLY users_name;",
      transaction: "none",
      proof: {
        kind: "queues",
        release: "SELECT name FROM users WHERE id = 1",
        open: "SELECT name FROM users WHERE id = 2",
      },
    },
    judges: {
      drop: ({ object, name, concurrently: online, cascade, together, ifExists }, context) => {
        if (object !== "index" || context.createdHere(name)) return undefined;
        const index = context.resolve(name).relation?.index;
        if (index && context.isCreatedHere(context.catalogue.relations.get(index.table)?.createdAt)) return undefined;
        if (!online)
          return {
            message: `Nobody can read or write the table of ${qn(name)} while it is dropped.`,
            fix: `In a migration without a transaction around it:\nDROP INDEX CONCURRENTLY ${ifExists ? "IF EXISTS " : ""}${qn(name)};`,
            locks: `ACCESS EXCLUSIVE on the table of ${qn(name)}: blocks reads and writes`,
          };
        const refused = cascade
          ? "with CASCADE"
          : together > 1
            ? "together with others"
            : index?.partitioned
              ? "of a partitioned table"
              : undefined;
        return refused
          ? {
              message: `PostgreSQL drops no index ${refused} concurrently, so the statement fails.`,
              fix: "One statement for each index.",
            }
          : undefined;
      },
    },
  },
  {
    id: "drop-unique-index",
    level: "error",
    question: "rollback",
    title: "Dropping a unique index",
    why: "ON CONFLICT of the running release fails without it. The new release may store duplicates, and then the index can't be made again.",
    locks: "SHARE UPDATE EXCLUSIVE on the table with CONCURRENTLY; ACCESS EXCLUSIVE without.",
    instead: "Do it when no release relies on it, or make another unique index over the same columns first.",
    contractable: true,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, email text); CREATE UNIQUE INDEX users_email ON users (email);",
      unsafe: "DROP INDEX CONCURRENTLY users_email;",
      safe: "CREATE UNIQUE INDEX CONCURRENTLY users_email_2 ON users (email);",
      transaction: "none",
      proof: { kind: "fails", release: "INSERT INTO users VALUES (1, 'a@b') ON CONFLICT (email) DO NOTHING" },
    },
    judges: {
      drop: ({ object, name }, context) => {
        if (object !== "index" || context.createdHere(name)) return undefined;
        const { key, relation } = context.resolve(name);
        const { index } = relation ?? {};
        if (index && context.isCreatedHere(context.catalogue.relations.get(index.table)?.createdAt)) return undefined;
        if (relation && (!isUnique(relation) || hasTwin(context, key, relation))) return undefined;
        if (index && isUniqueRemade(context, name, index.table, index.columns)) return undefined;
        return {
          // Most indexes are not unique, and whoever drops one knows it.
          ...(relation === undefined && { level: "warn" as const }),
          message: relation
            ? `ON CONFLICT of the running release fails without ${qn(name)}, and duplicates keep it from being made again.`
            : `Were ${qn(name)} a unique index, ON CONFLICT of the running release would fail without it.`,
          fix: relation ? LATER : "Give the schema by --schema, so that this can be told.",
          affects: [{ kind: "object", relation: name.name }],
        };
      },
    },
  },
  {
    id: "reindex",
    level: "error",
    question: "locks",
    title: "REINDEX without CONCURRENTLY",
    why: "Nobody can write to the table, nor read by the index, until it is built anew.",
    locks: "SHARE on the table and ACCESS EXCLUSIVE on its indexes: blocks writes, and reads that would use them.",
    instead: "REINDEX ... CONCURRENTLY, in a migration without a transaction around it.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, name text); INSERT INTO users SELECT n, n::text FROM generate_series(1, 1000) n; CREATE INDEX users_name ON users (name);",
      unsafe: "REINDEX INDEX users_name;",
      safe: "REINDEX INDEX CONCURRENTLY users_name;",
      transaction: "none",
      proof: {
        kind: "waits",
        release: "UPDATE users SET name = 'Ada' WHERE id = 1",
        open: "UPDATE users SET name = 'Bo' WHERE id = 2",
      },
    },
    judges: {
      reindex: ({ what, name, concurrently: online }, context) =>
        online || (name && context.createdHere(name))
          ? undefined
          : {
              message: `Nobody can write to ${name ? `the table of ${qn(name)}` : "the tables"} until the index is built anew.`,
              fix: `In a migration without a transaction around it:\nREINDEX ${what} CONCURRENTLY ${name ? qn(name) : ""};`,
            },
    },
  },
  {
    id: "refresh-view",
    level: "error",
    question: "locks",
    title: "Refreshing a materialized view without CONCURRENTLY",
    why: "Nobody can read the view until it is filled anew.",
    locks: "ACCESS EXCLUSIVE on the view, for as long as its query takes: blocks reads.",
    instead: "A unique index over the view, and REFRESH MATERIALIZED VIEW CONCURRENTLY.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 1000); CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM users; CREATE UNIQUE INDEX counts_n ON counts (n);",
      unsafe: "REFRESH MATERIALIZED VIEW counts;",
      safe: "REFRESH MATERIALIZED VIEW CONCURRENTLY counts;",
      proof: { kind: "waits", release: "SELECT n FROM counts" },
    },
    judges: {
      refresh: ({ view, concurrently: online, withData }, context) => {
        if (context.createdHere(view)) return undefined;
        const { key, relation } = context.resolve(view);
        const keyed = context.catalogue
          .indexesOf(key)
          .some(([, { index }]) => index.unique && !index.partial && !index.expressions);
        if (online && withData && (relation === undefined || keyed)) return undefined;
        return {
          message: online
            ? `${qn(view)} has no unique index over plain columns, which CONCURRENTLY needs, so the statement fails.`
            : `Nobody can read ${qn(view)} until it is filled anew${withData ? "" : ", nor afterwards, as it is left empty"}.`,
          fix: `CREATE UNIQUE INDEX CONCURRENTLY /* name */ ON ${qn(view)} (/* key */);\nREFRESH MATERIALIZED VIEW CONCURRENTLY ${qn(view)};`,
        };
      },
    },
  },
  {
    id: "concurrently-in-transaction",
    level: "error",
    question: "locks",
    title: "A statement that PostgreSQL runs outside of transactions only",
    why: "PostgreSQL refuses it inside of a transaction, a function or a string of several statements, so the migration fails.",
    locks: "None: the statement fails.",
    instead: "A migration of its own, without a transaction around it, with nothing else in it.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text);",
      unsafe: "CREATE INDEX CONCURRENTLY users_name ON users (name);",
      safe: "CREATE TABLE names (name text); CREATE INDEX names_name ON names (name);",
      proof: { kind: "refused" },
    },
    judges: {
      "outside-transaction": ({ what }, context) =>
        context.block === undefined
          ? undefined
          : {
              message: `PostgreSQL refuses ${what} inside of ${context.block}.`,
              fix: "Put it into a migration of its own that runs without a transaction (--transaction none; goose: -- +goose NO TRANSACTION; dbmate: -- migrate:up transaction:false).",
              locks: "none: the statement fails",
            },
    },
  },
);
