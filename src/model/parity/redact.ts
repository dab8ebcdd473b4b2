import type { Json } from "./json";

/** Replaces secrets in reports. */
export const REDACTED = "[redacted]";

const SECRET_NAME =
  /auth(?!or(?!i[sz]))|cookie|token|secret|passw|passphrase|credential|session([-_]?id)?$|signature|(?:api|access|private|client|signing|encryption)[-_]?key/i;
/** Shorter values are too likely to be part of an innocent text. */
const MIN_SECRET = 6;
/** Likewise for a part of a value: "Bearer" is none. */
const MIN_PART = 8;

/** Whether a header, parameter or field of this name holds a secret, as far as its name tells. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

/** Hides secrets by the names of the fields that hold them, and by their own values wherever those turn up. */
export class Redactor {
  private readonly secrets: string[];

  /**
   * @param secrets secret values, such as those of authorization headers
   * @param guarded values that may be secret: hidden as a whole, and not their parts, which may be common words
   */
  constructor(secrets: Iterable<string> = [], guarded: Iterable<string> = []) {
    const whole = [...secrets];
    // "Bearer abc" is as secret when it is echoed without its scheme.
    const parts = whole.flatMap((value) => value.split(/[\s;,=]+/)).filter((part) => part.length >= MIN_PART);
    const values = [...whole, ...guarded].filter((value) => value.length >= MIN_SECRET);
    // The longest first: a whole value goes before its parts.
    this.secrets = [...new Set([...values, ...parts])].sort((a, b) => b.length - a.length);
  }

  text(text: string): string {
    let clean = text;
    for (const secret of this.secrets) if (clean.includes(secret)) clean = clean.replaceAll(secret, REDACTED);
    return clean;
  }

  /** A copy with the values of secret names hidden at any depth. */
  value(value: Json): Json {
    if (typeof value === "string") return this.text(value);
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map((item) => this.value(item));
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => [
        this.text(key),
        isSecretName(key) && member !== null && typeof member !== "boolean" ? REDACTED : this.value(member),
      ]),
    );
  }
}

/** Values of those headers whose names say that they are secret. */
export function secretValues(headers: Record<string, string>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => (isSecretName(name) ? [value] : []));
}
