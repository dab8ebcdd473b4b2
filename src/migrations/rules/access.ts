import { objectBorn } from "./objects";
import { goesWithItsTable } from "./support/goes";
import { isTriggerRemade } from "./support/remade";
import { defineRules, LATER, q, qn } from "./support/rules";

const NEVER_CALLED = new Set(["pg_terminate_backend", "pg_cancel_backend"]);

export const accessRules = defineRules(
  {
    id: "access-change",
    level: "error",
    question: "compatibility",
    title: "Taking away access",
    why: "The running release is denied what it does, or sees fewer rows (or none) without any error: REVOKE, row security, restrictive policies, owners, and settings of roles and databases.",
    locks: "ACCESS EXCLUSIVE on the table for row security, policies and owners, for a moment.",
    instead: "Do it in a contract migration, when no release relies on the access.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY); GRANT SELECT ON users TO app;",
      unsafe: "REVOKE SELECT ON users FROM app;",
      safe: "GRANT SELECT, INSERT ON users TO app;",
      proof: { kind: "fails", release: "SELECT id FROM users", role: "app" },
    },
    judges: {
      revoke: ({ object, names, what }, context) =>
        names.length > 0 && names.every((name) => objectBorn(context, object, name))
          ? undefined
          : {
              message: `Releases that use ${what} on ${object} ${names.map(qn).join(", ")} are denied it.`,
              fix: LATER,
            },
      access: ({ what, subject, safe }, context) =>
        context.isCreatedHere(context.catalogue.others.get(subject))
          ? undefined
          : { message: `${what} changes what connections of running releases may do or see (${subject}).`, fix: safe },
      owner: ({ object, name, own }, context) =>
        own || objectBorn(context, object, name)
          ? undefined
          : {
              message: `Releases that use ${object} ${qn(name)} as its owner, or as a role of it, are denied it.`,
              fix: `Grant what they need first, and change the owner in a contract migration.`,
            },
      "row-security": ({ table, what }, context) =>
        context.createdHere(table)
          ? undefined
          : {
              message: `${what} changes which rows of ${qn(table)} running releases see, without any error.`,
              fix: LATER,
            },
      "create-policy": ({ table, name, restrictive }, context) =>
        !restrictive || context.createdHere(table)
          ? undefined
          : {
              message: `The restrictive policy ${q(name)} hides rows of ${qn(table)} from running releases.`,
              fix: LATER,
            },
      "alter-policy": ({ table, name }, context) =>
        objectBorn(context, "policy", table, name)
          ? undefined
          : {
              message: `Another condition of policy ${q(name)} changes which rows of ${qn(table)} running releases see.`,
              fix: LATER,
            },
      drop: ({ object, name, part }, context) => {
        if (object !== "policy" && object !== "role") return undefined;
        if (objectBorn(context, object, name, part)) return undefined;
        return {
          message:
            object === "role"
              ? `Running releases that log in as ${qn(name)} are denied.`
              : `Without policy ${q(part ?? "")}, running releases see other rows of ${qn(name)}.`,
          fix: LATER,
        };
      },
    },
  },
  {
    id: "drop-trigger",
    level: "error",
    question: "compatibility",
    title: "Dropping a trigger",
    why: "What it kept in step, filled in or checked for the running release stops at once.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead: "Drop it in a contract migration, when no release relies on it; CREATE OR REPLACE TRIGGER changes one.",
    contractable: true,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, full_name text); CREATE FUNCTION sync() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.full_name := NEW.name; RETURN NEW; END $$; CREATE TRIGGER sync BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION sync();",
      unsafe: "DROP TRIGGER sync ON users;",
      safe: "CREATE OR REPLACE TRIGGER sync BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION sync();",
      proof: { kind: "differs", release: "INSERT INTO users (id, name) VALUES (1, 'Ada') RETURNING full_name" },
    },
    judges: {
      drop: ({ object, name, part }, context) => {
        if (object !== "trigger" && object !== "event trigger") return undefined;
        if (objectBorn(context, object, name, part)) return undefined;
        if (part !== undefined && (isTriggerRemade(context, name, part) || goesWithItsTable(context, name)))
          return undefined;
        return {
          message: `What ${object} ${part === undefined ? qn(name) : `${q(part)} on ${qn(name)}`} does for running releases stops at once.`,
          fix: LATER,
          affects: [{ kind: "object", relation: part ?? name.name }],
        };
      },
    },
  },
  {
    id: "disable-trigger",
    level: "error",
    question: "compatibility",
    title: "Disabling triggers",
    why: "Dual writes stop, and with ALL or a replica session the foreign keys are no longer checked either.",
    locks: "SHARE ROW EXCLUSIVE on the table: blocks writes.",
    instead: "Let the trigger tell by a setting of the session what it should leave out.",
    contractable: true,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, full_name text); CREATE FUNCTION sync() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.full_name := NEW.name; RETURN NEW; END $$; CREATE TRIGGER sync BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION sync();",
      unsafe: "ALTER TABLE users DISABLE TRIGGER sync;",
      safe: "ALTER TABLE users ENABLE TRIGGER sync;",
      proof: { kind: "differs", release: "INSERT INTO users (id, name) VALUES (1, 'Ada') RETURNING full_name" },
    },
    judges: {
      "trigger-state": ({ table, what, disables }, context) =>
        !disables || context.createdHere(table)
          ? undefined
          : { message: `${what} stops what it does for running releases on ${qn(table)}.`, fix: LATER },
      "disable-triggers-of-session": ({ what }) => ({
        message: `With ${what}, neither triggers nor foreign keys are run for what this migration writes.`,
        fix: "Leave the setting out.",
        locks: "no lock on a table",
      }),
    },
  },
  {
    id: "rule-rewrite",
    level: "error",
    question: "compatibility",
    title: "Rewriting the running release's queries by a rule",
    why: "A rule changes what its statements do, or stops doing so, at once.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead: "A trigger, or a view for the new release.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users VALUES (1);",
      unsafe: "CREATE RULE no_delete AS ON DELETE TO users DO INSTEAD NOTHING;",
      safe: "CREATE VIEW all_users AS SELECT * FROM users;",
      proof: { kind: "differs", release: "DELETE FROM users WHERE id = 1" },
    },
    judges: {
      "create-rule": ({ table, name }, context) =>
        context.createdHere(table)
          ? undefined
          : {
              message: `Rule ${q(name)} changes what running releases' statements on ${qn(table)} do.`,
              fix: "Use a trigger.",
            },
      "rule-state": ({ table, what, name }, context) =>
        objectBorn(context, "rule", table, name)
          ? undefined
          : { message: `${what} ${q(name)} changes what running releases' statements on ${qn(table)} do.`, fix: LATER },
      drop: ({ object, name, part }, context) =>
        object !== "rule" || objectBorn(context, object, name, part)
          ? undefined
          : {
              message: `Without rule ${q(part ?? "")}, running releases' statements on ${qn(name)} do something else.`,
              fix: LATER,
            },
    },
  },
  {
    id: "terminate-sessions",
    level: "error",
    question: "compatibility",
    title: "Ending other sessions",
    why: "The running release loses its connections in the middle of what it does.",
    locks: "None.",
    instead: "Set lock_timeout and try again.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY);",
      unsafe: "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid();",
      safe: "SET lock_timeout = '2s';",
      proof: { kind: "fails", release: "SELECT id FROM users" },
    },
    judges: {
      call: ({ function: name }) =>
        NEVER_CALLED.has(name.name)
          ? {
              message: `${name.name}() cuts running releases off in the middle of their work.`,
              fix: "SET lock_timeout = '2s'; and let the runner try again.",
            }
          : undefined,
    },
  },
);
