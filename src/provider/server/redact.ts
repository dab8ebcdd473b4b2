import { getAt } from "./path";
import type { Unmarshalled } from "./value";

/** Shorter secrets are not looked for in texts: they would blot out ordinary words. */
const MIN_REDACTED_LENGTH = 4;
/** A text that merely holds a secret of this length is a secret itself; a shorter one must be equal to it. */
const MIN_CONTAINED_LENGTH = 8;
const MASK = "[secret]";

/** Knows the secret strings of one operation, and keeps them out of whatever leaves it. */
export class Redactor {
  readonly #secrets: string[];

  /** @param bags the property bags of the operation, old and new */
  constructor(bags: readonly Unmarshalled[]) {
    const found = new Set<string>();
    for (const bag of bags) {
      for (const path of bag.secretPaths) collect(getAt(bag.value, path), found);
    }
    // Longest first, so that a secret which holds another one is masked whole.
    this.#secrets = [...found].filter((s) => s.length >= MIN_REDACTED_LENGTH).sort((a, b) => b.length - a.length);
  }

  /** The text with every known secret masked, as it is, JSON-escaped, and line by line. */
  redact(text: string): string {
    let result = text;
    for (const secret of this.#secrets) result = result.replaceAll(secret, MASK);
    return result;
  }

  /** Whether a string of the outputs must be kept as a secret because of what it holds. */
  isSecretText = (text: string): boolean =>
    this.#secrets.some((s) => text === s || (s.length >= MIN_CONTAINED_LENGTH && text.includes(s)));
}

function collect(value: unknown, found: Set<string>): void {
  if (typeof value === "string") {
    found.add(value);
    found.add(JSON.stringify(value).slice(1, -1));
    for (const line of value.split("\n")) found.add(line.trim());
  } else if (typeof value === "number") found.add(String(value));
  else if (typeof value === "object" && value !== null) for (const item of Object.values(value)) collect(item, found);
}
