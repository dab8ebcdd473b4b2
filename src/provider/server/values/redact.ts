import { safeText } from "../../../model/types/safe-text";
import { secretForms } from "../../../model/types/secret-forms";
import { getAt } from "./path";
import type { Unmarshalled } from "./value";

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
    this.#secrets = secretForms([...found]);
  }

  /**
   * The text with every known secret masked, in any of its forms. Escape sequences
   * are taken out meanwhile, since one within a secret would hide it.
   */
  redact(text: string): string {
    return this.#mask(safeText(this.#mask(text), Number.POSITIVE_INFINITY));
  }

  #mask(text: string): string {
    return this.#secrets.reduce((left, secret) => left.replaceAll(secret, MASK), text);
  }

  /** Whether a string of the outputs must be kept as a secret because of what it holds. */
  isSecretText = (text: string): boolean =>
    this.#secrets.some((s) => text === s || (s.length >= MIN_CONTAINED_LENGTH && text.includes(s)));
}

function collect(value: unknown, found: Set<string>): void {
  if (typeof value === "string") {
    found.add(value);
  } else if (typeof value === "number") found.add(String(value));
  else if (typeof value === "object" && value !== null) for (const item of Object.values(value)) collect(item, found);
}
