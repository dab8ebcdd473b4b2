/** Shorter secrets would blot out ordinary words. */
const MIN_MASKED_LENGTH = 4;

/** A text without secrets, also where only a line of one is in it. */
export function masked(text: string, secrets: readonly string[]): string {
  return secrets
    .flatMap((secret) => [secret, ...secret.split("\n")])
    .filter(({ length }) => length >= MIN_MASKED_LENGTH)
    .toSorted((a, b) => b.length - a.length)
    .reduce((left, secret) => left.replaceAll(secret, "[secret]"), text);
}

/** A value of plain data whose texts, those that are keys aside, hold no secrets. */
export function deeplyMasked<T>(value: T, secrets: readonly string[]): T {
  if (secrets.length === 0) return value;
  const mask = (inner: unknown): unknown => {
    if (typeof inner === "string") return masked(inner, secrets);
    if (Array.isArray(inner)) return inner.map(mask);
    if (typeof inner !== "object" || inner === null) return inner;
    return Object.fromEntries(Object.entries(inner).map(([key, each]) => [key, mask(each)]));
  };
  return mask(value) as T;
}
