import { z } from "zod";
import { issueMessage } from "../types/messages";
import type { Migration, MigrationFinding } from "./migration-set";
import { audited, endOf } from "./override";

/** Fewest digits of a file's hash that name it. */
const SHORTEST_HASH = 12;

/** An operator's word that one finding in one file, as that file is now, is right. It stands in stack config. */
const bypass = z.strictObject({
  /** SHA-256 of the file, in hexadecimal digits: all 64, or the first 12 at least. */
  file: z.string().regex(new RegExp(`^[0-9a-f]{${SHORTEST_HASH},64}$`), {
    error: `is not a file's hash: take it from sha256sum, ${SHORTEST_HASH} digits at least`,
  }),
  /** Id of the rule that it lifts. */
  rule: z.string().min(1).max(100),
  ...audited,
});
export type Bypass = z.output<typeof bypass>;

export interface Bypasses {
  /** Bypasses that are in force. */
  valid: Bypass[];
  /** Problems of the other entries, in words. */
  problems: string[];
}

/** Reads the bypasses of stack config: a list, as JSON. */
export function readBypasses(text: string | undefined, now: Date): Bypasses {
  if (text === undefined) return { valid: [], problems: [] };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const parsed = z.array(bypass).safeParse(value, { error: issueMessage });
  if (!parsed.success)
    return {
      valid: [],
      problems: parsed.error.issues.map(
        ({ path, message }) => `${path.length === 0 ? "" : `[${path.join(".")}] `}${message}`,
      ),
    };
  const expired = (one: Bypass) => endOf(one) <= now.getTime();
  return {
    valid: parsed.data.filter((one) => !expired(one)),
    problems: parsed.data
      .filter(expired)
      .map(
        ({ file, rule, until }) => `${rule} in ${file.slice(0, SHORTEST_HASH)} has expired (until ${until}): remove it`,
      ),
  };
}

/** The bypass of a finding, if there is one. */
export function bypassOf(
  { file, rule }: Pick<MigrationFinding, "file" | "rule">,
  migrations: readonly Pick<Migration, "id" | "hash">[],
  bypasses: readonly Bypass[],
): Bypass | undefined {
  const hash = migrations.find(({ id }) => id === file)?.hash;
  return hash === undefined ? undefined : bypasses.find((one) => hash.startsWith(one.file) && one.rule === rule);
}
