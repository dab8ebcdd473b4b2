import type { Action } from "../postgres/read/actions";
import type { EnumSwap } from "../postgres/run/enum-swap";
import type { RuleContext } from "../postgres/run/rule-context";
import { quoteLiteral } from "../postgres/syntax/names";
import type { RuleVerdict } from "../rule";
import { affectsColumn, defineRules, q, qn, steps } from "./support/rules";

export const enumSwapRules = defineRules({
  id: "enum-swap",
  level: "error",
  question: "compatibility",
  title: "Replacing an enum by another one",
  why: "Another type takes the enum's name, and its columns are cast to it: each of their tables is written anew under a lock, rows with a value that is gone make the migration fail, and the running release fails where it writes or compares with such a value.",
  locks:
    "ACCESS EXCLUSIVE on each table with a column of it, for as long as it takes to write it anew: blocks reads and writes.",
  instead:
    "Add values by ALTER TYPE ... ADD VALUE. Leave values that nobody uses any more in the type, and refuse new ones by a CHECK if that matters.",
  contractable: false,
  judgesSwaps: true,
  example: {
    before:
      "CREATE TYPE mood AS ENUM ('glad', 'sad', 'calm'); CREATE TABLE users (id bigint PRIMARY KEY, mood mood); INSERT INTO users SELECT n, 'glad' FROM generate_series(1, 1000) n;",
    unsafe:
      "CREATE TYPE mood_new AS ENUM ('glad', 'sad'); ALTER TABLE users ALTER COLUMN mood TYPE mood_new USING mood::text::mood_new; ALTER TYPE mood RENAME TO mood_old; ALTER TYPE mood_new RENAME TO mood; DROP TYPE mood_old;",
    safe: "ALTER TABLE users ADD CONSTRAINT users_mood CHECK (mood <> 'calm') NOT VALID;",
    proof: { kind: "waits", release: "SELECT mood FROM users WHERE id = 1" },
  },
  judges: {
    "create-type": swapped,
    rename: swapped,
    "change-type": swapped,
    drop: swapped,
  },
});

function swapped(action: Action, context: RuleContext): RuleVerdict | undefined {
  const swap = context.swap(action);
  if (swap === undefined || swap.actions[0] !== action) return undefined;
  const gone = swap.before?.filter((value) => !swap.after.includes(value));
  const added = swap.before && swap.after.filter((value) => !swap.before?.includes(value));
  const tables = [...new Set(swap.columns.map(({ table }) => qn(table)))];
  const rewritten =
    tables.length === 0
      ? ""
      : `, and ${tables.join(", ")} ${tables.length === 1 ? "is" : "are"} written anew under a lock`;
  return {
    message: `${lossOf(swap, gone)}${rewritten}.`,
    fix: fixOf(swap, gone, added),
    locks:
      tables
        .map((table) => `ACCESS EXCLUSIVE on ${table} while it is written anew: blocks reads and writes`)
        .join("; ") || "no lock on a table",
    affects: swap.columns.flatMap(({ table, column }) => affectsColumn(context, table, column)),
    ...(gone?.length === 0 && { question: "locks" as const }),
  };
}

function lossOf({ name }: EnumSwap, gone: readonly string[] | undefined): string {
  if (gone === undefined)
    return `Another enum takes the place of ${qn(name)}, whose values are not known: releases that use one that is gone fail`;
  if (gone.length === 0) return `Another enum takes the place of ${qn(name)} without taking a value away`;
  const values = gone.map(quoteLiteral).join(", ");
  return `Releases that write or compare with ${values} of ${qn(name)} fail, as does this migration where a row has ${gone.length === 1 ? "it" : "one"}`;
}

function fixOf(
  { name, columns }: EnumSwap,
  gone: readonly string[] | undefined,
  added: readonly string[] | undefined,
): string {
  const adds = (added ?? []).map((value) => `ALTER TYPE ${qn(name)} ADD VALUE ${quoteLiteral(value)};`);
  if (gone?.length === 0) return adds.join("\n") || "Leave it out: the type has these values already.";
  const values = gone?.map(quoteLiteral).join(", ") ?? "/* values that go */";
  const checks = columns.map(({ table, column }) => {
    const check = q(`${table.name}_${column}_values`);
    return `ALTER TABLE ${qn(table)} ADD CONSTRAINT ${check} CHECK (${q(column)} NOT IN (${values})) NOT VALID;`;
  });
  return steps(...(adds.length > 0 ? [["Add what is new.", ...adds] as [string, ...string[]]] : []), [
    "Leave the values in the type. When no release writes them any more, and no row has them, refuse them.",
    ...checks,
  ]);
}
