import type { Json } from "../../model/parity/json";

const MAX_TEXT = 200;
const MAX_ITEMS = 20;
const MAX_LEVELS = 4;
/** Parts of one clipped value in all. */
const MAX_PARTS = 60;

/** A copy of a value that is small enough for a report: what was cut says how much. */
export function clip(value: Json): Json {
  return clipWithin(value, 0, { parts: MAX_PARTS });
}

/** A text that is small enough for a report. */
export function clipText(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}... (${text.length} characters)`;
}

function clipWithin(value: Json, level: number, left: { parts: number }): Json {
  left.parts--;
  if (typeof value === "string") return clipText(value);
  if (typeof value === "bigint") return clipDigits(value);
  if (typeof value !== "object" || value === null) return value;
  const size = Array.isArray(value) ? value.length : Object.keys(value).length;
  if (size > 0 && (level >= MAX_LEVELS || left.parts <= 0))
    return Array.isArray(value) ? `... (a list of ${size})` : `... (an object of ${size})`;
  if (Array.isArray(value)) {
    const items: Json[] = [];
    for (const item of value.slice(0, MAX_ITEMS)) {
      if (left.parts <= 0) break;
      items.push(clipWithin(item, level + 1, left));
    }
    return items.length < size ? [...items, `... (${size - items.length} more)`] : items;
  }
  const members: [string, Json][] = [];
  for (const [key, member] of Object.entries(value).slice(0, MAX_ITEMS)) {
    if (left.parts <= 0) break;
    members.push([clipText(key), clipWithin(member, level + 1, left)]);
  }
  if (members.length < size) members.push(["...", `(${size - members.length} more)`]);
  return Object.fromEntries(members);
}

function clipDigits(value: bigint): Json {
  const digits = String(value);
  return digits.length <= MAX_TEXT ? value : clipText(digits);
}
