import type { RuleContext } from "../../postgres/run/rule-context";
import { clauseFrom } from "../../postgres/syntax/clause";
import type { Name } from "../../postgres/syntax/names";
import type { ColumnSpec } from "../../postgres/syntax/specs";
import { typeText } from "../../postgres/syntax/types";
import { q, qn } from "./rules";

/** The default as written. */
export function defaultText(context: RuleContext, column: ColumnSpec): string {
  const rest = clauseFrom(context.text, context.indexOf(column.location));
  const found = /\bdefault\s+([\s\S]*)$/i.exec(rest)?.[1] ?? "/* value */";
  return found
    .replace(/\s+(?:not\s+null|null|constraint|check|unique|primary|references|generated|collate)\b[\s\S]*$/i, "")
    .trim();
}

/** The statement that adds a column without its constraints, but for what rows that are there already have. */
export function columnAlone(context: RuleContext, table: Name, column: ColumnSpec): string {
  const filled = column.default === undefined ? "" : ` DEFAULT ${defaultText(context, column)}`;
  const required = filled !== "" && column.notNull ? " NOT NULL" : "";
  return `ALTER TABLE ${qn(table)} ADD COLUMN ${q(column.name)} ${typeText(column.type)}${filled}${required};`;
}
