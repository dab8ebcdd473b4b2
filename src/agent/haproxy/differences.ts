/** Differences between two JSON-like values, each as a sentence such as `timeouts.client 1 minute -> 30 seconds`. */
export function differences(before: unknown, after: unknown, at = ""): string[] {
  if (Object.is(before, after)) return [];
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
    return keys.flatMap((key) => differences(before[key], after[key], join(at, key, Array.isArray(after))));
  }
  if (before === undefined) return [`${at} added${isObject(after) ? "" : `: ${String(after)}`}`];
  if (after === undefined) return [`${at} removed`];
  return [`${at} ${show(before)} -> ${show(after)}`];
}

function join(at: string, key: string, inArray: boolean): string {
  if (inArray) return `${at}[${key}]`;
  return at === "" ? key : `${at}.${key}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function show(value: unknown): string {
  return isObject(value) ? JSON.stringify(value) : String(value);
}
