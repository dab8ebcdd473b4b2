import { findRule, RULES } from "../../migrations";
import { UsageError } from "../common/exit";
import { QUESTIONS, rulePage } from "./page";

/** All rules, by their question. */
export function rulesText(): string {
  const width = Math.max(...RULES.map(({ id }) => id.length));
  const groups = (Object.keys(QUESTIONS) as (keyof typeof QUESTIONS)[]).map((question) =>
    [
      QUESTIONS[question],
      ...RULES.filter((rule) => rule.question === question).map(
        ({ id, level, title }) => `  ${id.padEnd(width)}  ${level.padEnd(5)}  ${title}`,
      ),
    ].join("\n"),
  );
  return `${groups.join("\n\n")}\n`;
}

/**
 * The rule's page of the documentation.
 *
 * @throws UsageError where there is no such rule
 */
export function explainText(id: string): string {
  const rule = findRule(id);
  if (rule === undefined)
    throw new UsageError([`there is no rule ${id}: sluice migrations explain lists all ${RULES.length} rules`]);
  return rulePage(rule);
}
