/** Whether a value has members by name; an array has not. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value where it has members by name, else an empty object. */
export function asObject(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}
