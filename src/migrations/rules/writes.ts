import type { RuleContext } from "../postgres/run/rule-context";
import type { RuleVerdict } from "../rule";
import { defineRules, q, qn } from "./support/rules";

const STRONG = /^(?:SHARE|SHARE ROW EXCLUSIVE|EXCLUSIVE|ACCESS EXCLUSIVE)$/;

/** Long work while a lock of the same transaction keeps the application out. */
function underLock(context: RuleContext, what: string): RuleVerdict | undefined {
  const exclusive = context.held.find(({ mode }) => mode === "ACCESS EXCLUSIVE");
  const held = exclusive ?? context.held.find(({ mode }) => STRONG.test(mode));
  if (held === undefined) return undefined;
  return {
    ...(exclusive === undefined && { level: "warn" as const }),
    message: `${what} takes as long as there are rows, and the ${held.mode} lock on ${held.on} that line ${held.line} took is held meanwhile.`,
    fix: "Put it into a migration of its own, in batches, each in its own transaction.",
    locks: `${held.mode} on ${held.on} since line ${held.line}, until the transaction ends: blocks ${exclusive ? "reads and writes" : "writes"}`,
  };
}

export const writeRules = defineRules(
  {
    id: "unbounded-write",
    level: "error",
    question: "rollback",
    title: "UPDATE or DELETE of every row",
    why: "What was there before is gone for the previous release, and nothing tells which rows to put back. While it runs, every row is locked against the application's own writes.",
    locks: "ROW EXCLUSIVE on the table, and a lock on every row until the transaction ends: blocks writes to them.",
    instead:
      "Batches over a range of keys, each in its own transaction, into a column that the old release does not read.",
    contractable: true,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, active boolean, paused boolean); INSERT INTO users SELECT n, true FROM generate_series(1, 10) n;",
      unsafe: "UPDATE users SET active = false;",
      safe: "UPDATE users SET paused = NOT active WHERE id BETWEEN 1 AND 5;",
      proof: { kind: "differs", release: "SELECT id, active FROM users ORDER BY id" },
    },
    judges: {
      write: ({ verb, table, bounded, sets, joined }, context) => {
        if (bounded || verb === "INSERT" || context.createdHere(table)) return undefined;
        const { schema, relation } = context.resolve(table);
        const fix = `In batches, each in its own transaction: ${verb === "MERGE" ? "a source with WHERE" : `${verb} ... WHERE /* key */ BETWEEN /* from */ AND /* to */`};`;
        const rows =
          joined.length === 0
            ? "leaves no row out"
            : `leaves out no row that has its counterpart in ${joined.map(q).join(", ")}`;
        if (sets.length > 0 && sets.every((column) => context.isNewHere(relation?.columns.get(column)))) {
          // No release knows what was there before, and under a strong lock nobody waits for the rows but for the table.
          if (context.held.some(({ mode }) => STRONG.test(mode))) return undefined;
          return {
            question: "locks",
            contractable: false,
            message: `${verb} on ${qn(table)} ${rows}, and each stays locked against the application's writes until the last one is written.`,
            fix,
          };
        }
        return {
          message: `${verb} on ${qn(table)} ${rows}: nothing tells afterwards what was there before.`,
          fix,
          affects: [{ kind: "table", relation: `${schema}.${table.name}` }],
        };
      },
    },
  },
  {
    id: "backfill-under-lock",
    level: "error",
    question: "locks",
    title: "A backfill while the table is locked",
    why: "A change of the schema keeps its lock until the transaction ends. Rows that are written or read after it in the same transaction make everybody wait for all of them.",
    locks: "ACCESS EXCLUSIVE on the table that was changed, until the transaction ends: blocks reads and writes.",
    instead: "The change of the schema in one migration, the backfill in another, in batches.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE users (id bigint PRIMARY KEY, name text); INSERT INTO users SELECT n, 'x' FROM generate_series(1, 10) n;",
      unsafe: "ALTER TABLE users ADD COLUMN nick text; UPDATE users SET nick = name WHERE id BETWEEN 1 AND 10;",
      safe: "ALTER TABLE users ADD COLUMN nick text;",
      proof: { kind: "waits", release: "SELECT name FROM users WHERE id = 1" },
    },
    judges: {
      write: ({ verb, table, many, single }, context) =>
        many && !single && (verb === "INSERT" || !context.createdHere(table))
          ? underLock(context, `${verb} on ${qn(table)}`)
          : undefined,
      "long-read": ({ what }, context) => underLock(context, what),
      refresh: ({ view }, context) => underLock(context, `REFRESH of ${qn(view)}`),
      call: ({ function: name }, context) =>
        /^pg_sleep(?:_for|_until)?$/.test(name.name) ? underLock(context, `${name.name}()`) : undefined,
    },
  },
);
