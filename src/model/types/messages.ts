import type { z } from "zod";
import { safeJson } from "./safe-text";

/** Longest part of an offending value that a message shows, in characters. */
const MAX_SHOWN = 80;

/** A value as a message shows it: short, in one line, and never failing, whatever it is. */
export function quoteValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value !== "string") return String(value);
  const short = value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value;
  return safeJson(short);
}

/** Words for the types that a schema expects. */
const TYPES: Record<string, string> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "an object",
  record: "an object",
};

/**
 * Says what is wrong with an input, for a person: the offending value and the remedy. The path stands beside it. Give it
 * to `safeParse` as `error`; messages that a schema itself has go first.
 */
export function issueMessage(issue: z.core.$ZodRawIssue): string | undefined {
  const { input } = issue;
  switch (issue.code) {
    case "invalid_type": {
      const expected = TYPES[issue.expected] ?? issue.expected;
      return input === undefined ? `is missing: give ${expected}` : `${quoteValue(input)} is not ${expected}: give one`;
    }
    case "invalid_value": {
      const choice = issue.values.map(quoteValue).join(", ");
      return input === undefined
        ? `is missing: use one of ${choice}`
        : `${quoteValue(input)} is not known here: use one of ${choice}`;
    }
    case "too_small":
      return sized(input, issue.origin, "few", `at least ${issue.minimum}`);
    case "too_big":
      return sized(input, issue.origin, "many", `at most ${issue.maximum}`);
    case "unrecognized_keys":
      return `${issue.keys.map(quoteValue).join(", ")} does not exist here: remove it, or check its spelling`;
    case "invalid_key":
      return issue.issues.map(({ message }) => message).join("; ");
    case "invalid_union":
      return discriminated(issue) ?? `${quoteValue(input)} does not fit here: see the documentation of this property`;
    default:
      return undefined;
  }
}

function sized(input: unknown, origin: string, word: "few" | "many", bound: string): string {
  if (origin === "array") return `has too ${word} items (${(input as unknown[]).length}): give ${bound}`;
  if (origin === "string") {
    if (input === "") return "is empty: give a text";
    return `is too ${word === "few" ? "short" : "long"} (${String(input).length} characters): give ${bound}`;
  }
  return `${quoteValue(input)} is out of range: use ${bound}`;
}

function discriminated(issue: z.core.$ZodRawIssue): string | undefined {
  const { discriminator, options } = issue as { discriminator?: string; options?: readonly unknown[] };
  if (discriminator === undefined || options === undefined) return undefined;
  const given = (issue.input as Record<string, unknown> | undefined)?.[discriminator];
  return `${quoteValue(given)} is not known here: use one of ${options.map(quoteValue).join(", ")}`;
}
