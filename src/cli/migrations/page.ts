import { lex, type Proof, RULES, type Rule } from "../../migrations";

export const QUESTIONS = {
  compatibility: "Does the old release still work after it?",
  rollback: "Can the old release be restored after it?",
  locks: "Does it block the application, fail half-way, or hide what it does?",
} as const;

const LEVELS = {
  error: "an error: it makes a file unsafe",
  warn: "a warning: it makes no file unsafe",
  style: "style: it makes no file unsafe",
} as const;

const GENERATED = "<!-- Generated from the rule by `npm run docs`: change the rule. -->";

/** The pages of all rules and their list, in Markdown, by the names of their files. */
export function rulePages(): Map<string, string> {
  return new Map([
    ["README.md", listPage()],
    ...RULES.map((rule): [string, string] => [`${rule.id}.md`, `${GENERATED}\n\n${rulePage(rule)}`]),
  ]);
}

/** A rule's page, in Markdown. */
export function rulePage({ id, title, level, question, why, locks, instead, contractable, example }: Rule): string {
  const { before, unsafe, safe, transaction = "per-file", proof } = example;
  const runner =
    transaction === "per-file" ? "The runner wraps a file in a transaction" : "Each statement runs by itself";
  return `${[
    `# ${id}: ${title}`,
    `**${QUESTIONS[question]}** ${capital(question)}, ${LEVELS[level]}.`,
    why,
    "## What it locks and blocks",
    locks,
    "## The safe way",
    instead,
    contractable
      ? "A contract migration may do it, once no release needs what it removes."
      : "It is safe in no phase of a migration.",
    "## Example",
    `${runner} (\`--transaction ${transaction}\`). Existing schema:`,
    sqlBlock(before),
    "Unsafe:",
    sqlBlock(unsafe),
    "Safe:",
    sqlBlock(safe),
    `A test runs both on a PostgreSQL. ${seen(proof)}`,
  ].join("\n\n")}\n`;
}

function listPage(): string {
  const groups = Object.entries(QUESTIONS).flatMap(([question, asked]) => [
    `## ${asked}`,
    [
      "| rule | level | |",
      "|---|---|---|",
      ...RULES.filter((rule) => rule.question === question).map(
        ({ id, level, title }) => `| [${id}](${id}.md) | ${level} | ${title} |`,
      ),
    ].join("\n"),
  ]);
  const about =
    "What makes a [migration](../migrations.md) unsafe while two releases overlap. `sluice migrations explain RULE` prints the same pages.";
  return `${[GENERATED, "# The rules for migrations", about, ...groups].join("\n\n")}\n`;
}

/** The condition that the test checks: it holds after the unsafe example, and not after the safe one. */
function seen(proof: Proof): string {
  switch (proof.kind) {
    case "fails":
    case "differs": {
      const { release, prepared, role, next } = proof;
      const given = [
        ...(prepared ? ["prepared before, as drivers do"] : []),
        ...(role === undefined ? [] : [`as role \`${role}\``]),
      ].join(", ");
      const outcome = proof.kind === "fails" ? "fails" : "answers or does something else";
      const old = `this statement of the old release${given && ` (${given})`} ${outcome}; after the safe one it works as before`;
      return next === undefined
        ? `After the unsafe one, ${old}:\n\n${sqlBlock(release)}`
        : `After the unsafe one, the new release can write this:\n\n${sqlBlock(next)}\n\nThen ${old}:\n\n${sqlBlock(release)}`;
    }
    case "waits":
      return `While the unsafe one works through the rows, this statement of the application waits; the safe one never lets it:\n\n${sqlBlock(proof.release)}`;
    case "queues":
      return `While a transaction of the application with the first statement is open, the unsafe one waits for it, and the application's second one waits behind; the safe one never lets it:\n\n${sqlBlock(`${proof.open}; ${proof.release}`)}`;
    case "irreversible":
      return `After the unsafe one, the new release can write this:\n\n${sqlBlock(proof.next)}\n\nThen the way back fails; after the safe one it does not:\n\n${sqlBlock(proof.undo)}`;
    case "refused":
      return "PostgreSQL refuses the unsafe one, so the migration fails; the safe one runs.";
    case "halfway":
      return `A failure at the end of the unsafe one leaves something behind, as this query shows; the safe one leaves nothing:\n\n${sqlBlock(proof.see)}`;
    case "unforeseeable": {
      const shown = `as this query shows; the safe one always does the same:\n\n${sqlBlock(proof.see)}`;
      return proof.other === undefined
        ? `The unsafe one has another result at another time, ${shown}`
        : `Take a database that also has this:\n\n${sqlBlock(proof.other)}\n\nThe unsafe one has another result there, ${shown}`;
    }
  }
}

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

const sqlBlock = (sql: string): string => `\`\`\`sql\n${linesOf(sql)}\n\`\`\``;

/** A line for each statement. */
function linesOf(sql: string): string {
  const { statements, metaCommands } = lex(sql);
  if (metaCommands.length > 0) return sql;
  return statements
    .map(({ start, end }) => sql.slice(start, end).trim().replace(/;$/, ""))
    .filter((statement) => statement !== "")
    .map((statement) => `${statement};`)
    .join("\n");
}
