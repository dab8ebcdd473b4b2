import { defineRules, qn } from "./support/rules";

const BLOCKING_MODES = new Set(["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"]);

export const tableLockRules = defineRules(
  {
    id: "table-rewrite",
    level: "error",
    question: "locks",
    title: "Statements that write a whole table anew",
    why: "VACUUM FULL, CLUSTER, SET TABLESPACE, SET LOGGED, SET UNLOGGED and SET ACCESS METHOD copy the whole table while nobody can read it.",
    locks: "ACCESS EXCLUSIVE on the table, for as long as it takes to write it anew: blocks reads and writes.",
    instead: "Plain VACUUM; pg_repack where space must be given back; a new table that is filled in batches.",
    contractable: false,
    example: {
      before: "CREATE TABLE events (id bigint PRIMARY KEY); INSERT INTO events SELECT generate_series(1, 1000);",
      unsafe: "ALTER TABLE events SET UNLOGGED;",
      safe: "ALTER TABLE events SET (fillfactor = 90);",
      proof: { kind: "waits", release: "SELECT id FROM events WHERE id = 1" },
    },
    judges: {
      rewrite: ({ what, name }, context) =>
        name && context.createdHere(name)
          ? undefined
          : {
              message: `${what} copies ${name ? qn(name) : "every table"} while nobody can read or write it.`,
              fix:
                what === "VACUUM FULL" && name
                  ? `VACUUM ${qn(name)};`
                  : "Leave it out, or copy into a new table in batches.",
              locks: `ACCESS EXCLUSIVE on ${name ? qn(name) : "every table"} while it is copied: blocks reads and writes`,
            },
    },
  },
  {
    id: "lock-table",
    level: "error",
    question: "locks",
    title: "LOCK TABLE",
    why: "It keeps the application from the table until the transaction ends, and waits for its turn with everything that comes after it waiting behind.",
    locks: "The mode that it names, until the transaction ends.",
    instead: "Write statements that need no lock of their own; set lock_timeout.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY);",
      unsafe: "LOCK TABLE users;",
      safe: "SET lock_timeout = '2s';",
      proof: {
        kind: "queues",
        release: "SELECT id FROM users WHERE id = 1",
        open: "SELECT id FROM users WHERE id = 2",
      },
    },
    judges: {
      "lock-table": ({ table, mode }, context) => {
        if (context.createdHere(table)) return undefined;
        if (context.block === undefined)
          return { message: `LOCK TABLE ${qn(table)} fails outside of a transaction.`, fix: "Remove it." };
        if (!BLOCKING_MODES.has(mode)) return undefined;
        return { message: `The application waits for ${qn(table)} until the transaction ends.`, fix: "Remove it." };
      },
    },
  },
);
