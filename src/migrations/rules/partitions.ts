import { isWithinBound } from "../postgres/catalogue/proofs";
import type { RuleContext } from "../postgres/run/rule-context";
import type { Name } from "../postgres/syntax/names";
import type { RuleVerdict } from "../rule";
import { affectsTable, defineRules, LATER, q, qn, steps, tableFacts } from "./support/rules";

export const partitionRules = defineRules(
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
    title: "Attaching a partition whose rows must be scanned",
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
          message: `No validated check shows that all rows of ${part.shown} belong into its bounds, so every row is scanned under a lock.`,
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
);

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
  message: `${qn(parent)} has a default partition: every row of it is scanned under a lock when ${qn(partition)} is attached.`,
  fix: "Add a validated CHECK to the default partition that rules the new bounds out, then bypass this finding.",
  locks: `ACCESS EXCLUSIVE on the default partition of ${qn(parent)}: blocks reads and writes`,
});
