import { findRule, RULES } from "../../model/migrations/rules";
import { UsageError } from "../exit";

const QUESTIONS = {
  compatibility: "Does the old release still work after it?",
  rollback: "Can the old release be restored after it?",
  locks: "Does it block the application, fail half-way, or hide what it does?",
} as const;

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

/** @throws UsageError where there is no such rule */
export function explainText(id: string): string {
  const rule = findRule(id);
  if (rule === undefined)
    throw new UsageError([`there is no rule ${id}: sluice migrations explain lists ${RULES.length} of them`]);
  const { level, question, title, why, locks, instead, contractable, example } = rule;
  const { before, unsafe, safe, transaction = "per-file" } = example;
  return `${[
    `${id} (${level}): ${title}`,
    "",
    QUESTIONS[question],
    why,
    "",
    `Locks: ${locks}`,
    `Instead: ${instead}`,
    ...(contractable
      ? ["A contract migration may do it, when no release needs what it takes away."]
      : ["No phase of a migration makes it safe."]),
    "",
    `Example (--transaction ${transaction}), with this there before:`,
    `  ${before}`,
    "Unsafe:",
    `  ${unsafe}`,
    "Safe:",
    `  ${safe}`,
  ].join("\n")}\n`;
}
