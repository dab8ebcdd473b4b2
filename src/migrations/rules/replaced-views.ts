import { queryColumns } from "../postgres/read/query-columns";
import { defineRules, q, qn } from "./support/rules";

export const replacedViewRules = defineRules({
  id: "replace-view",
  level: "error",
  question: "locks",
  title: "Replacing a view by one with other columns",
  why: "CREATE OR REPLACE VIEW may only add columns at the end. PostgreSQL refuses to take one away, to rename it or to change their order, so the migration fails.",
  locks: "None: the statement fails.",
  instead: "Keep the columns in their order and add new ones behind them; or make another view beside it.",
  contractable: false,
  example: {
    before: "CREATE TABLE users (id bigint PRIMARY KEY, name text); CREATE VIEW people AS SELECT id, name FROM users;",
    unsafe: "CREATE OR REPLACE VIEW people AS SELECT id FROM users;",
    safe: "CREATE OR REPLACE VIEW people AS SELECT id, name, upper(name) AS label FROM users;",
    proof: { kind: "refused" },
  },
  judges: {
    "create-relation": ({ relation, name, replace, query, columnNames }, context) => {
      if (relation !== "view" || !replace || query === undefined) return undefined;
      const before = context.resolve(name).relation;
      if (before?.kind !== "view" || !before.complete) return undefined;
      const columnsOf = (source: typeof name) => context.catalogue.columnNames(source, context.searchPath);
      const shown = queryColumns(query, columnsOf)?.map((column, index) => columnNames[index] ?? column);
      const old = [...before.columns.keys()];
      const at = shown === undefined ? -1 : old.findIndex((column, index) => shown[index] !== column);
      if (shown === undefined || at < 0) return undefined;
      const [was, is] = [q(old[at] ?? ""), shown[at]];
      return {
        message: `PostgreSQL refuses to replace view ${qn(name)} by one that has ${is === undefined ? `no column in the place of ${was}` : `${q(is)} in the place of ${was}`}.`,
        fix: `CREATE OR REPLACE VIEW ${qn(name)} AS SELECT ${old.map(q).join(", ")}, /* new columns */ ...;`,
        locks: "none: the statement fails",
      };
    },
  },
});
