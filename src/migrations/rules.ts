import type { Action } from "./postgres/read/actions";
import type { RuleContext } from "./postgres/run/rule-context";
import type { Rule, RuleVerdict } from "./rule";
import { accessRules } from "./rules/access";
import { addedColumnRules } from "./rules/added-columns";
import { alteredColumnRules } from "./rules/altered-columns";
import { constraintRules } from "./rules/constraints";
import { enumSwapRules } from "./rules/enum-swap";
import { existingRules } from "./rules/existing";
import { indexRules } from "./rules/indexes";
import { objectRules } from "./rules/objects";
import { partitionRules } from "./rules/partitions";
import { removedColumnRules } from "./rules/removed-columns";
import { removedTableRules } from "./rules/removed-tables";
import { replacedViewRules } from "./rules/replaced-views";
import { runnerRules } from "./rules/runner";
import { tableKeyRules } from "./rules/table-keys";
import { tableLockRules } from "./rules/table-locks";
import { writeRules } from "./rules/writes";

/** All rules, in the order in which people meet them: compatibility, rollback, locks. */
export const RULES: readonly Rule[] = (["compatibility", "rollback", "locks"] as const).flatMap((question) =>
  [
    ...removedColumnRules,
    ...addedColumnRules,
    ...alteredColumnRules,
    ...removedTableRules,
    ...tableKeyRules,
    ...partitionRules,
    ...tableLockRules,
    ...objectRules,
    ...enumSwapRules,
    ...accessRules,
    ...constraintRules,
    ...indexRules,
    ...existingRules,
    ...replacedViewRules,
    ...writeRules,
    ...runnerRules,
  ].filter((rule) => rule.question === question),
);

export const findRule = (id: string): Rule | undefined => RULES.find((rule) => rule.id === id);

export interface Judging {
  rule: Rule;
  judge: (action: Action, context: RuleContext) => RuleVerdict | undefined;
}

let byKind: Map<string, Judging[]> | undefined;

/** The rules that have something to say of a kind of action. */
export function judgesOf(kind: Action["kind"]): readonly Judging[] {
  byKind ??= group();
  return byKind.get(kind) ?? [];
}

function group(): Map<string, Judging[]> {
  const groups = new Map<string, Judging[]>();
  for (const rule of RULES)
    for (const [kind, judge] of Object.entries(rule.judges))
      groups.set(kind, [...(groups.get(kind) ?? []), { rule, judge: judge as Judging["judge"] }]);
  return groups;
}
