import type { CreateRelation } from "../postgres/read/actions";
import type { RuleContext } from "../postgres/run/rule-context";
import type { Name } from "../postgres/syntax/names";
import type { ConstraintSpec } from "../postgres/syntax/specs";
import type { RuleVerdict } from "../rule";
import { defineRules, q, qn, tableFacts } from "./support/rules";

export const tableKeyRules = defineRules(
  {
    id: "blocking-key",
    level: "warn",
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
