import type { Action, LockMode } from "../read/actions";
import type { Name } from "../syntax/names";

/** Operations of the application that each mode blocks. */
const BLOCKS: Record<LockMode, string> = {
  "ACCESS SHARE": "blocks nothing that the application does",
  "ROW SHARE": "blocks nothing that the application does",
  "ROW EXCLUSIVE": "blocks nothing but writes to the same rows",
  "SHARE UPDATE EXCLUSIVE": "blocks neither reads nor writes, only vacuum and other changes of the schema",
  SHARE: "blocks writes",
  "SHARE ROW EXCLUSIVE": "blocks writes",
  EXCLUSIVE: "blocks writes",
  "ACCESS EXCLUSIVE": "blocks reads and writes",
};

export interface TakenLock {
  mode: LockMode;
  on: Name;
}

export const lockText = (mode: LockMode, on: string): string => `${mode} on ${on}: ${BLOCKS[mode]}`;

/**
 * The strongest lock that an action takes on what was there before it. Long because it is a table: one case for each kind of
 * action.
 */
export function locksOf(action: Action): TakenLock[] {
  const on = (mode: LockMode, name: Name): TakenLock[] => [{ mode, on: name }];
  switch (action.kind) {
    case "add-column":
      return [
        ...on("ACCESS EXCLUSIVE", action.table),
        ...action.column.constraints.flatMap(({ references }) =>
          references ? on("SHARE ROW EXCLUSIVE", references.table) : [],
        ),
      ];
    case "add-constraint":
      return action.constraint.references
        ? [...on("SHARE ROW EXCLUSIVE", action.table), ...on("SHARE ROW EXCLUSIVE", action.constraint.references.table)]
        : on("ACCESS EXCLUSIVE", action.table);
    case "drop-column":
    case "set-default":
    case "drop-default":
    case "set-not-null":
    case "drop-not-null":
    case "change-type":
    case "drop-constraint":
    case "add-identity":
    case "set-identity":
    case "drop-identity":
    case "drop-expression":
    case "row-security":
    case "rule-state":
    case "replica-identity":
    case "no-inherit":
    case "create-rule":
    case "create-policy":
    case "alter-policy":
    case "truncate":
      return on("ACCESS EXCLUSIVE", action.table);
    case "create-trigger":
    case "trigger-state":
      return on("SHARE ROW EXCLUSIVE", action.table);
    case "validate-constraint":
      return on("SHARE UPDATE EXCLUSIVE", action.table);
    case "alter-minor":
      return on(action.lock, action.table);
    case "attach-partition":
      return [...on("SHARE UPDATE EXCLUSIVE", action.table), ...on("ACCESS EXCLUSIVE", action.partition)];
    case "detach-partition":
      return on(action.concurrently ? "SHARE UPDATE EXCLUSIVE" : "ACCESS EXCLUSIVE", action.table);
    case "create-index":
      return on(action.concurrently ? "SHARE UPDATE EXCLUSIVE" : "SHARE", action.table);
    case "create-relation":
      return [
        ...(action.partitionOf ? on("ACCESS EXCLUSIVE", action.partitionOf.parent) : []),
        ...[...action.constraints, ...action.columns.flatMap(({ constraints }) => constraints)].flatMap(
          ({ references }) => (references ? on("SHARE ROW EXCLUSIVE", references.table) : []),
        ),
      ];
    case "drop":
      return on(action.concurrently ? "SHARE UPDATE EXCLUSIVE" : "ACCESS EXCLUSIVE", action.name);
    case "rename":
      return RELATIONS.test(action.object)
        ? on(action.object === "index" ? "SHARE UPDATE EXCLUSIVE" : "ACCESS EXCLUSIVE", action.name)
        : [];
    case "set-schema":
    case "owner":
      return RELATIONS.test(action.object) ? on("ACCESS EXCLUSIVE", action.name) : [];
    case "reindex":
      return action.name ? on(action.concurrently ? "SHARE UPDATE EXCLUSIVE" : "SHARE", action.name) : [];
    case "refresh":
      return on(action.concurrently ? "EXCLUSIVE" : "ACCESS EXCLUSIVE", action.view);
    case "rewrite":
      return action.name ? on("ACCESS EXCLUSIVE", action.name) : [];
    case "lock-table":
      return on(action.mode, action.table);
    case "write":
      return on("ROW EXCLUSIVE", action.table);
    default:
      return [];
  }
}

const RELATIONS = /table|view|index|sequence|column|constraint|trigger|rule|policy/;
