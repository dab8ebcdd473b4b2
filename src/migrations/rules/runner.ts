import type { UninspectableKind } from "../postgres/read/actions";
import { STEADY_FUNCTIONS, VOLATILE_FUNCTIONS } from "../postgres/syntax/builtins";
import type { Rule } from "../rule";
import { defineRules, qn } from "./support/rules";

/** They run SQL that is given to them as text, here or on another server. */
const RUN_TEXT =
  /^(?:query_to_xml|query_to_xmlschema|query_to_xml_and_xmlschema|dblink|dblink_exec|dblink_send_query|dblink_open)$/;

const uninspectable = (
  id: UninspectableKind,
  text: Pick<Rule, "title" | "why" | "instead" | "example">,
  judges: Rule["judges"] = {},
): Rule => ({
  id,
  level: "error",
  question: "locks",
  locks: "Not known.",
  contractable: false,
  ...text,
  judges: {
    uninspectable: ({ as = "unknown-code", what, fix }) =>
      as === id ? { message: `This can't be judged: ${what}.`, fix, locks: "not known" } : undefined,
    ...judges,
  },
});

const BEFORE = "CREATE TABLE users (id bigint PRIMARY KEY);";

export const runnerRules = defineRules(
  {
    id: "transaction-control",
    level: "error",
    question: "locks",
    title: "Transaction control that the runner does not expect",
    why: "A COMMIT inside of the runner's transaction ends it: what comes after runs on its own, and a failure leaves half a migration behind.",
    locks: "Those of the transaction, for longer or shorter than the runner thinks.",
    instead: "Leave transactions to the runner, or run the file without one around it.",
    contractable: false,
    example: {
      before: BEFORE,
      unsafe: "CREATE TABLE a (id bigint); COMMIT; CREATE TABLE b (id bigint);",
      safe: "CREATE TABLE a (id bigint); SAVEPOINT s; CREATE TABLE b (id bigint); RELEASE SAVEPOINT s;",
      proof: { kind: "halfway", see: "SELECT to_regclass('a')" },
    },
    judges: {
      "transaction-control": ({ what, problem, fix }) => ({
        message: `${what}: ${problem}.`,
        fix,
        locks: "those of the transaction",
      }),
    },
  },
  uninspectable("dynamic-sql", {
    title: "SQL that is put together at run time",
    why: "What EXECUTE runs can't be known from the file, so nobody can say that it is safe.",
    instead: "Write the statements out.",
    example: {
      before: BEFORE,
      unsafe:
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP EXECUTE 'ALTER TABLE ' || quote_ident(t) || ' ADD COLUMN seen boolean'; END LOOP; END $$;",
      safe: "DO $$ BEGIN EXECUTE 'ALTER TABLE users ADD COLUMN seen boolean'; END $$;",
      proof: {
        kind: "unforeseeable",
        see: "SELECT count(*) FROM information_schema.columns WHERE column_name = 'seen'",
        other: "CREATE TABLE orders (id bigint)",
      },
    },
  }),
  uninspectable("psql-command", {
    title: "Commands of psql",
    why: "Only psql knows them; they can read other files, run programs and put text into statements.",
    instead: "Plain SQL.",
    example: { before: BEFORE, unsafe: "\\i other.sql", safe: "SELECT 1;", proof: { kind: "refused" } },
  }),
  uninspectable("copy-program", {
    title: "COPY from or to a program",
    why: "The program runs on the database's host, and can do anything there.",
    instead: "COPY ... FROM STDIN.",
    example: {
      before: BEFORE,
      unsafe: "COPY users FROM PROGRAM 'echo $PPID';",
      safe: "INSERT INTO users VALUES (1);",
      proof: { kind: "unforeseeable", see: "SELECT id FROM users" },
    },
  }),
  uninspectable("syntax-error", {
    title: "Text that PostgreSQL's parser refuses",
    why: "The migration fails at it, and what it was meant to do can't be judged.",
    instead: "Correct it; psql's variables and templates must be filled in first.",
    example: {
      before: BEFORE,
      unsafe: "ALTER TABLE users ADD COLUM name text;",
      safe: "ALTER TABLE users ADD COLUMN name text;",
      proof: { kind: "refused" },
    },
  }),
  uninspectable(
    "unknown-code",
    {
      title: "Code that can't be looked into",
      why: "A function that no migration created, or that is written in a language that can't be read, may do anything.",
      instead: "Call functions that a migration created in SQL or PL/pgSQL, or write their statements out.",
      example: {
        before: "CREATE FUNCTION stop(integer) RETURNS boolean LANGUAGE internal STRICT AS 'pg_terminate_backend';",
        unsafe:
          "SELECT stop(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();",
        safe: "SELECT now();",
        proof: { kind: "fails", release: "SELECT 1" },
      },
    },
    {
      call: ({ function: name, standalone }, context) => {
        if (RUN_TEXT.test(name.name))
          return {
            message: `This can't be judged: ${qn(name)}() runs SQL that it is given as text.`,
            fix: "Write the statements into the migration itself.",
            locks: "not known",
          };
        const builtin = name.schema === undefined || name.schema === "pg_catalog";
        const known =
          (builtin && (STEADY_FUNCTIONS.has(name.name) || VOLATILE_FUNCTIONS.has(name.name))) ||
          context.catalogue.functionsNamed(name, context.searchPath).length > 0 ||
          context.catalogue.extensionFunction(name) !== undefined;
        if (known || !standalone) return undefined;
        return {
          message: `This can't be judged: nothing is known of what ${qn(name)}() does.`,
          fix: "Make it known: give the schema by --schema, or the migration that creates it, or its extension, before this one.",
          locks: "not known",
        };
      },
    },
  ),
);
