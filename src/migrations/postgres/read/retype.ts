import type { RuleContext } from "../run/rule-context";
import { columnOf } from "../syntax/ast";
import { sameType, typeChange, typeOf, typeText } from "../syntax/types";
import type { Action } from "./actions";

/** Why a change of type is more than a change in the catalogue; undefined where that is all it is. */
export function whyRewritten(
  action: Extract<Action, { kind: "change-type" }>,
  context: RuleContext,
): string | undefined {
  const { table, column, type, using, collated } = action;
  const { key, relation } = context.resolve(table);
  const old = relation?.columns.get(column)?.type;
  if (old === undefined) return "its present type is not known";
  if (collated) return "another collation sorts its indexes anew";
  if (using && !isPlainCast(using, column, action)) return "the USING expression is computed for every row";
  const change = typeChange(old, type);
  if (change === "same") return undefined;
  if (change === "other") return `it is ${typeText(old)} now`;
  for (const fact of relation?.constraints.values() ?? [])
    if (fact.kind === "check" && fact.valid && fact.columns.includes(column))
      return `the check ${fact.name} is run on every row again`;
  const held = [...(relation?.pinned.values() ?? [])].some((names) => names.includes(column) || names.includes("*"));
  if (held) return "a view, policy or trigger uses the column, so the statement fails";
  if (relation?.partitionKey?.columns.some((part) => part === undefined || part === column))
    return "the table is partitioned by it, so the statement fails";
  for (const [, { name, index }] of context.catalogue.indexesOf(key))
    if ((index.partial || index.expressions) && index.uses.includes(column)) return `the index ${name} is built anew`;
  const computed = [...(relation?.columns.values() ?? [])].find(({ from }) => from?.includes(column));
  return computed && `the generated column ${computed.name} is computed from it, so the statement fails`;
}

function isPlainCast(
  using: NonNullable<Extract<Action, { kind: "change-type" }>["using"]>,
  column: string,
  { type }: { type: Parameters<typeof sameType>[0] },
): boolean {
  if (columnOf(using) === column) return true;
  return (
    "TypeCast" in using && columnOf(using.TypeCast.arg) === column && sameType(typeOf(using.TypeCast.typeName), type)
  );
}
