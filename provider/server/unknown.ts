/**
 * A value that only an update will tell; it stands in for any value, of any type, at any depth of a preview's inputs.
 * Using it as text or JSON is a mistake, and throws.
 */
export class Unknown {
  toString(): never {
    throw new Error("a value that is not known until the update was used in a preview");
  }
  toJSON(): never {
    return this.toString();
  }
}

export const UNKNOWN: Unknown = Object.freeze(new Unknown());

export function isUnknown(value: unknown): value is Unknown {
  return value instanceof Unknown;
}

/** Whether the value is, or holds at any depth, something that is not known yet. */
export function containsUnknown(value: unknown): boolean {
  if (isUnknown(value)) return true;
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(containsUnknown);
}
