import type { Path } from "./path";

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

/** Paths of unknown values within a value. */
export function unknownPaths(value: unknown, at: Path = []): Path[] {
  if (isUnknown(value)) return [at];
  if (Array.isArray(value)) return value.flatMap((item, index) => unknownPaths(item, [...at, index]));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => unknownPaths(item, [...at, key]));
}

/** Whether the value is, or holds at any depth, something that is not known yet. */
export function containsUnknown(value: unknown): boolean {
  if (isUnknown(value)) return true;
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(containsUnknown);
}
