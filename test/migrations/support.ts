import assert from "node:assert/strict";
import test from "node:test";
import { checkMigrations } from "../../src/migrations/check";
import type { CheckOptions, FileResult, MigrationFile } from "../../src/migrations/finding";

/** Inputs of a case beside its own SQL. */
export interface Given extends CheckOptions {
  /** Earlier files, by their order. */
  after?: string | readonly string[];
  /** Its name. @default "0100_case.sql" */
  path?: string;
  /** What its runner has beside it. */
  settings?: string;
}

/**
 * A migration, and the rules that refuse it: none where it is safe. `warn:` before a rule is one that only warns; other
 * warnings are of no matter.
 */
export type Case = readonly [sql: string, rules: string, given?: Given];

export async function judge(sql: string, given: Given = {}): Promise<FileResult> {
  const { after = [], path = "0100_case.sql", settings, ...options } = given;
  const earlier = typeof after === "string" ? [after] : after;
  const files: MigrationFile[] = [
    ...earlier.map((text, index) => ({ path: `00${10 + index}_before.sql`, sql: text })),
    { path, sql, ...(settings !== undefined && { settings }) },
  ];
  const result = await checkMigrations(files, options);
  const last = result.files.at(-1);
  assert.ok(last);
  return last;
}

export const errorsOf = ({ findings }: FileResult): string[] =>
  [...new Set(findings.filter(({ level }) => level === "error").map(({ rule }) => rule))].sort();

export function table(title: string, cases: readonly Case[]): void {
  test(title, async () => {
    const wrong: string[] = [];
    for (const [sql, expected, given] of cases) {
      const result = await judge(sql, given);
      const wanted = expected.split(" ").filter((rule) => rule !== "" && !rule.startsWith("warn:"));
      const warned = expected.split(" ").filter((rule) => rule.startsWith("warn:"));
      const found = errorsOf(result);
      const warnings = new Set(
        result.findings.filter(({ level }) => level === "warn").map(({ rule }) => `warn:${rule}`),
      );
      const missing = warned.filter((rule) => !warnings.has(rule));
      if (found.join() !== wanted.sort().join() || missing.length > 0)
        wrong.push(
          `${sql}\n    expected ${expected || "nothing"}, found ${found.join(" ") || "nothing"} ${[...warnings].join(" ")}`,
        );
    }
    assert.deepEqual(wrong, [], `${wrong.length} of ${cases.length}:\n${wrong.join("\n")}`);
  });
}

/** A table for cases that depend on what its columns are. */
export const USERS =
  "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(50), email text NOT NULL DEFAULT 'x', age int, nick text);";
