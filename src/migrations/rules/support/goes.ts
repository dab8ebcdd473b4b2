import type { RuleContext } from "../../postgres/run/rule-context";
import type { Name } from "../../postgres/syntax/names";

/** Whether the same transaction drops the table, or all of these columns of it: what hangs on them is no loss of its own then. */
export function goesWithItsTable(context: RuleContext, table: Name, columns: readonly string[] = []): boolean {
  const { key } = context.resolve(table);
  const following = context.following();
  const isTableDropped = following.some(
    (action) => action.kind === "drop" && action.object === "table" && context.resolve(action.name).key === key,
  );
  if (isTableDropped || columns.length === 0) return isTableDropped;
  const gone = following.flatMap((action) =>
    action.kind === "drop-column" && context.resolve(action.table).key === key ? [action.column] : [],
  );
  return columns.every((column) => gone.includes(column));
}
