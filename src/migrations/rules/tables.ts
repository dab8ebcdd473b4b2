import { isWithinBound } from "../postgres/catalogue/proofs";
import type { Action, CreateRelation } from "../postgres/read/actions";
import type { RuleContext } from "../postgres/run/rule-context";
import { columnOf } from "../postgres/syntax/ast";
import type { Name } from "../postgres/syntax/names";
import type { ConstraintSpec } from "../postgres/syntax/specs";
import type { RuleVerdict } from "../rule";
import { affectsTable, defineRules, LATER, q, qn, steps, tableFacts } from "./support";

/** Objects that queries read by name as they read tables. */
const TABLE_LIKE = new Set(["table", "foreign table", "view", "materialized view"]);
const BLOCKING_MODES = new Set(["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"]);
/** Operations of the old release on a table; a view in its place must allow all of them. */
const NEEDED_GRANTS = ["select", "insert", "update", "delete"];

export const tableRules = defineRules(
  {
    id: "drop-table",
    level: "error",
    question: "compatibility",
    title: "Dropping a table that the running release uses",
    why: "Queries of releases that still run fail as soon as the table is gone, and its rows are lost for a rollback.",
    locks: "ACCESS EXCLUSIVE on the table and on those that its keys point to, for a moment: blocks reads and writes.",
    instead: "Release code that no longer uses the table first. Drop it in a contract migration afterwards.",
    contractable: true,
    example: {
      before: "CREATE TABLE sessions (id bigint PRIMARY KEY);",
      unsafe: "DROP TABLE sessions;",
      safe: "COMMENT ON TABLE sessions IS 'unused since release 42';",
      proof: { kind: "fails", release: "SELECT id FROM sessions" },
    },
    judges: {
      drop: ({ object, name, cascade }, context) => {
        if ((object !== "table" && object !== "foreign table") || context.createdHere(name)) return undefined;
        return {
          message: `Releases that still use ${qn(name)} fail once it is gone${cascade ? ", and CASCADE takes along whatever depends on it" : ""}.`,
          fix: `${LATER}\nDROP TABLE ${qn(name)};`,
          affects: affectsTable(context, name),
        };
      },
    },
  },
  {
    id: "rename-table",
    level: "error",
    question: "compatibility",
    title: "Renaming a table, or moving it to another schema",
    why: "For the running release the table is gone: every query that names it fails. Swapping two tables is the same, with other rows.",
    locks: "ACCESS EXCLUSIVE on the table, for a moment: blocks reads and writes.",
    instead:
      "In one transaction: rename it, make a view of the old name over it, and grant on the view what was granted on the table.",
    contractable: true,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY, name text);",
      unsafe: "ALTER TABLE users RENAME TO people;",
      safe: "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people; GRANT SELECT, INSERT, UPDATE, DELETE ON users TO PUBLIC;",
      proof: { kind: "fails", release: "INSERT INTO users (id, name) VALUES (1, 'Ada')" },
    },
    judges: {
      rename: ({ object, name, to, part }, context) =>
        TABLE_LIKE.has(object) && part === undefined ? movedTable(context, name, { ...name, name: to }) : undefined,
      "set-schema": ({ object, name, to }, context) =>
        TABLE_LIKE.has(object) ? movedTable(context, name, { schema: to, name: name.name }) : undefined,
    },
  },
  {
    id: "truncate",
    level: "error",
    question: "rollback",
    title: "TRUNCATE",
    why: "All rows are lost, so no rollback brings back what the previous release worked with. Readers that run at that moment see an empty table.",
    locks: "ACCESS EXCLUSIVE on the table: blocks reads and writes.",
    instead: "Delete in batches what is really not needed, when no release reads it.",
    contractable: true,
    example: {
      before:
        "CREATE TABLE events (id bigint PRIMARY KEY, archived boolean); INSERT INTO events SELECT generate_series(1, 10);",
      unsafe: "TRUNCATE events;",
      safe: "UPDATE events SET archived = true WHERE id BETWEEN 1 AND 5;",
      proof: { kind: "differs", release: "SELECT id FROM events ORDER BY id" },
    },
    judges: {
      truncate: ({ table, restart, cascade }, context) =>
        context.createdHere(table) && !cascade
          ? undefined
          : {
              message: `All rows of ${qn(table)} are lost for good${restart ? ", and its ids begin anew" : ""}${cascade ? ", with those of every table that points to it" : ""}.`,
              fix: `Delete what is not needed in batches, each in its own transaction:\nDELETE FROM ${qn(table)} WHERE /* key */ BETWEEN /* from */ AND /* to */;`,
              affects: affectsTable(context, table),
            },
    },
  },
  {
    id: "blocking-key",
    level: "error",
    question: "compatibility",
    title: "A new table whose key keeps the old release from deleting",
    why: "The running release does not know the new table. When it deletes a row that a row of the new table points to, the foreign key refuses it.",
    locks: "SHARE ROW EXCLUSIVE on the table that it points to, for a moment: blocks writes.",
    instead: "ON DELETE CASCADE, or ON DELETE SET NULL on a column that may be NULL.",
    contractable: false,
    example: {
      before: "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users VALUES (1);",
      unsafe: "CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint REFERENCES users (id));",
      safe: "CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint REFERENCES users (id) ON DELETE CASCADE);",
      proof: {
        kind: "fails",
        release: "DELETE FROM users WHERE id = 1",
        next: "INSERT INTO orders VALUES (1, 1)",
      },
    },
    judges: {
      "create-relation": (action, context) => {
        if (action.temporary) return undefined;
        const all = [...action.constraints, ...action.columns.flatMap(({ constraints }) => constraints)];
        const required = requiredColumns(action);
        for (const constraint of all) {
          const found = blockingKey(context, action.name, constraint, (column) => required.has(column));
          if (found) return found;
        }
        return undefined;
      },
      "add-constraint": ({ table, constraint }, context) => {
        const { born, relation } = tableFacts(context, table);
        return born
          ? blockingKey(context, table, constraint, (column) => relation?.columns.get(column)?.notNull !== false)
          : undefined;
      },
      "add-column": ({ table, column }, context) =>
        context.createdHere(table)
          ? column.constraints
              .map((constraint) => blockingKey(context, table, constraint, () => column.notNull))
              .find(Boolean)
          : undefined,
    },
  },
  {
    id: "detach-partition",
    level: "error",
    question: "compatibility",
    title: "Detaching a partition",
    why: "The running release reads the parent table, and the partition's rows vanish from it.",
    locks:
      "ACCESS EXCLUSIVE on the parent, or SHARE UPDATE EXCLUSIVE with CONCURRENTLY: the first blocks reads and writes.",
    instead: "Detach it in a contract migration, when no release reads those rows.",
    contractable: true,
    example: {
      before:
        "CREATE TABLE events (id bigint, at date) PARTITION BY RANGE (at); CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); INSERT INTO events VALUES (1, '2024-05-05');",
      unsafe: "ALTER TABLE events DETACH PARTITION events_2024;",
      safe: "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');",
      proof: { kind: "differs", release: "SELECT id FROM events" },
    },
    judges: {
      "detach-partition": ({ table, partition }, context) => vanished(context, table, partition),
      "no-inherit": ({ table, parent }, context) => vanished(context, parent, table),
    },
  },
  {
    id: "attach-partition",
    level: "error",
    question: "locks",
    title: "Attaching a partition whose rows must be looked at",
    why: "Without a validated check that matches the bounds, PostgreSQL looks at every row of the partition under a lock; where there is a default partition, at every row of that as well.",
    locks:
      "ACCESS EXCLUSIVE on the partition (and on the default partition), for as long as it takes to look at every row: blocks reads and writes.",
    instead: "Add a CHECK that matches the bounds NOT VALID, VALIDATE it in its own transaction, then attach.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE events (id bigint, at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE events_2024 (id bigint, at date NOT NULL); INSERT INTO events_2024 SELECT n, '2024-05-05' FROM generate_series(1, 1000) n;",
      unsafe: "ALTER TABLE events ATTACH PARTITION events_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');",
      safe: "ALTER TABLE events_2024 ADD CONSTRAINT bounds CHECK (at >= '2024-01-01' AND at < '2025-01-01') NOT VALID; ALTER TABLE events_2024 VALIDATE CONSTRAINT bounds; ALTER TABLE events ATTACH PARTITION events_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');",
      transaction: "none",
      proof: { kind: "waits", release: "SELECT id FROM events_2024 WHERE id = 1" },
    },
    judges: {
      "attach-partition": ({ table, partition, bound }, context) => {
        const parent = tableFacts(context, table);
        const part = tableFacts(context, partition);
        if (defaultScanned(context, table) && !bound.is_default) return scannedDefault(table, partition);
        if (part.born) return undefined;
        const keys = parent.relation?.partitionKey?.columns;
        const [key] = keys ?? [];
        const simple = keys === undefined || (keys.length === 1 && key !== undefined);
        if (simple && isWithinBound(part.relation, bound, key)) return undefined;
        const name = q(`${partition.name}_bounds`);
        return {
          message: `No validated check shows that all rows of ${part.shown} belong into its bounds, so every one is looked at under a lock.`,
          fix: steps(
            [
              "New rows only.",
              `ALTER TABLE ${part.shown} ADD CONSTRAINT ${name} CHECK (/* its bounds, and IS NOT NULL */) NOT VALID;`,
            ],
            ["In a transaction of its own.", `ALTER TABLE ${part.shown} VALIDATE CONSTRAINT ${name};`],
            ["The check proves it.", `${context.text.trim()};`],
            [
              "The bounds say the same from then on: in a contract migration.",
              `ALTER TABLE ${part.shown} DROP CONSTRAINT ${name};`,
            ],
          ),
        };
      },
      "create-relation": ({ partitionOf, name }, context) =>
        partitionOf && !partitionOf.bound.is_default && defaultScanned(context, partitionOf.parent)
          ? scannedDefault(partitionOf.parent, name)
          : undefined,
    },
  },
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
  {
    id: "replica-identity",
    level: "error",
    question: "compatibility",
    title: "Publishing a table without a key",
    why: "PostgreSQL refuses UPDATE and DELETE on a published table that has no replica identity, and the running release makes both.",
    locks: "SHARE UPDATE EXCLUSIVE on the published tables, or ACCESS EXCLUSIVE for the identity itself, for a moment.",
    instead:
      "Give every table a primary key (or REPLICA IDENTITY FULL or USING INDEX) first, and publish tables by name.",
    contractable: false,
    example: {
      before:
        "CREATE TABLE events (id bigint); INSERT INTO events VALUES (1); CREATE TABLE users (id bigint PRIMARY KEY);",
      unsafe: "CREATE PUBLICATION everything FOR ALL TABLES;",
      safe: "CREATE PUBLICATION people FOR TABLE users;",
      proof: { kind: "fails", release: "UPDATE events SET id = 2 WHERE id = 1" },
    },
    judges: {
      "replica-identity": ({ table, to }, context) => {
        const { born, relation, shown } = tableFacts(context, table);
        if (born || to === "full" || to === "index" || (to === "default" && hasKey(relation))) return undefined;
        return {
          message: `UPDATE and DELETE on ${shown} are refused as soon as it is published, as ${to === "nothing" ? "it has no identity" : "nothing shows that it has a primary key"}.`,
          fix: `ALTER TABLE ${shown} REPLICA IDENTITY FULL;`,
        };
      },
      publication: ({ name, all, tables, deletes, adds }, context) => {
        if (!deletes || !adds) return undefined;
        if (all) {
          const every = [...context.catalogue.relations.values()].filter(
            ({ kind, temporary }) => kind === "table" && !temporary,
          );
          if (context.catalogue.whole && every.every(hasIdentity)) return undefined;
          return {
            message: `Publication ${q(name)} takes in every table: UPDATE and DELETE on those without a key are refused from then on.`,
            fix: `Give every table a primary key, then name them: CREATE PUBLICATION ${q(name)} FOR TABLE /* tables */;`,
          };
        }
        const bare = tables.filter(
          (table) => !context.createdHere(table) && !hasIdentity(tableFacts(context, table).relation),
        );
        const [first] = bare;
        if (first === undefined) return undefined;
        return {
          message: `Nothing shows that ${bare.map(qn).join(", ")} has a key: UPDATE and DELETE on it are refused once it is published.`,
          fix: `Give it a primary key first, or: ALTER TABLE ${qn(first)} REPLICA IDENTITY FULL;`,
        };
      },
    },
  },
);

type RelationFacts = ReturnType<typeof tableFacts>["relation"];

const hasKey = (relation: RelationFacts): boolean =>
  [...(relation?.constraints.values() ?? [])].some(({ kind }) => kind === "primary");

const hasIdentity = (relation: RelationFacts): boolean =>
  relation?.replicaIdentity === "full" ||
  relation?.replicaIdentity === "index" ||
  (relation?.replicaIdentity !== "nothing" && hasKey(relation));

function requiredColumns({ columns, constraints }: CreateRelation): Set<string> {
  const keys = constraints.flatMap((constraint) => (constraint.kind === "primary" ? constraint.columns : []));
  return new Set([...columns.filter(({ notNull }) => notNull).map(({ name }) => name), ...keys]);
}

function blockingKey(
  context: RuleContext,
  table: Name,
  { references, columns }: ConstraintSpec,
  isRequired: (column: string) => boolean,
): RuleVerdict | undefined {
  if (references === undefined) return undefined;
  const target = references.table;
  if (context.createdHere(target) || context.resolve(target).key === context.resolve(table).key) return undefined;
  const cleared = references.setColumns.length > 0 ? references.setColumns : columns;
  const nulled = references.onDelete === "set-null" && !cleared.some(isRequired);
  if (references.onDelete === "cascade" || nulled) return undefined;
  const why =
    references.onDelete === "set-null"
      ? `ON DELETE SET NULL fails, because ${cleared.filter(isRequired).map(q).join(", ")} must not be NULL`
      : "the key refuses it";
  return {
    message: `When the running release deletes a row of ${qn(target)} that a row of ${qn(table)} points to, ${why}.`,
    fix: `FOREIGN KEY (${columns.map(q).join(", ")}) REFERENCES ${qn(target)} ON DELETE CASCADE`,
  };
}

function vanished(context: RuleContext, parent: Name, partition: Name): RuleVerdict | undefined {
  if (context.createdHere(parent) || context.createdHere(partition)) return undefined;
  return {
    message: `The rows of ${qn(partition)} vanish from ${qn(parent)} for the running release.`,
    fix: LATER,
    affects: affectsTable(context, partition),
  };
}

/** Whether a new partition makes PostgreSQL look through the default one. */
function defaultScanned(context: RuleContext, parent: Name): boolean {
  const { relation, born } = tableFacts(context, parent);
  const partition = relation?.defaultPartition;
  return (
    !born && partition !== undefined && !context.isCreatedHere(context.catalogue.relations.get(partition)?.createdAt)
  );
}

const scannedDefault = (parent: Name, partition: Name): RuleVerdict => ({
  message: `${qn(parent)} has a default partition: every row of it is looked at under a lock when ${qn(partition)} is attached.`,
  fix: "Add a validated CHECK to the default partition that rules the new bounds out, then bypass this finding.",
  locks: `ACCESS EXCLUSIVE on the default partition of ${qn(parent)}: blocks reads and writes`,
});

function movedTable(context: RuleContext, from: Name, to: Name): RuleVerdict | undefined {
  if (context.createdHere(from) || isReplacedByView(context, from, to)) return undefined;
  const privileges = NEEDED_GRANTS.join(", ").toUpperCase();
  return {
    message: `Releases that still use ${qn(from)} fail once it is ${qn(to)}, as no view with its grants takes its place in the same transaction.`,
    fix: [
      "-- In one transaction:",
      `${context.text.trim()};`,
      `CREATE VIEW ${qn(from)} AS SELECT * FROM ${qn(to)};`,
      `GRANT ${privileges} ON ${qn(from)} TO /* who had them on the table */;`,
    ].join("\n"),
    affects: affectsTable(context, from),
  };
}

/** Whether later statements of the transaction make a view in its place that allows all that the table did. */
function isReplacedByView(context: RuleContext, from: Name, to: Name): boolean {
  const old = context.resolve(from);
  const following = context.following();
  const placeOf = (name: Name) => {
    const { schema } = name.schema === undefined ? { schema: context.searchPath[0] ?? "public" } : name;
    return `${schema}.${name.name}`;
  };
  const there = `${old.schema}.${old.name}`;
  const moved = `${to.schema ?? old.schema}.${to.name}`;
  const view = following.some(
    (action) =>
      action.kind === "create-relation" &&
      action.relation === "view" &&
      !action.temporary &&
      placeOf(action.name) === there &&
      showsAll(action, (name) => placeOf(name) === moved, [...(old.relation?.columns.keys() ?? [])]),
  );
  const granted = new Set(following.flatMap((action) => grantsOn(action, (name) => placeOf(name) === there)));
  return view && (granted.has("all") || NEEDED_GRANTS.every((privilege) => granted.has(privilege)));
}

const grantsOn = (action: Action, isIt: (name: Name) => boolean): readonly string[] =>
  action.kind === "grant" && action.objects.some(isIt) ? action.privileges : [];

/** A view that PostgreSQL lets write through, over all columns under their own names. */
function showsAll(
  { query, columnNames }: CreateRelation,
  isIt: (name: Name) => boolean,
  columns: readonly string[],
): boolean {
  if (query === undefined || columnNames.length > 0) return false;
  const {
    fromClause = [],
    targetList = [],
    whereClause,
    distinctClause,
    groupClause,
    limitCount,
    withClause,
    larg,
  } = query;
  if ([whereClause, distinctClause, groupClause, limitCount, withClause, larg].some((part) => part !== undefined))
    return false;
  const [table] = fromClause;
  if (fromClause.length !== 1 || table === undefined || !("RangeVar" in table)) return false;
  const { schemaname, relname = "" } = table.RangeVar;
  if (!isIt(schemaname === undefined ? { name: relname } : { schema: schemaname, name: relname })) return false;
  const shown = targetList.map((target) => {
    if (!("ResTarget" in target)) return undefined;
    const { val, name } = target.ResTarget;
    const last = val && "ColumnRef" in val ? val.ColumnRef.fields?.at(-1) : undefined;
    if (last && "A_Star" in last) return "*";
    const column = columnOf(val);
    return name === undefined || name === column ? column : undefined;
  });
  if (shown.includes("*")) return true;
  return columns.length > 0 && columns.every((column) => shown.includes(column));
}
