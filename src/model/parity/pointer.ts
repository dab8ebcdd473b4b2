import { quoteValue } from "../types/messages";
import type { Json } from "./json";

const FORM = /^(?:\/(?:[^~/]|~[01])*)*$/;
const INDEX = /^(?:0|[1-9]\d*)$/;

/**
 * The parts of a JSON pointer (RFC 6901): `/data/rows` is `["data", "rows"]`, an empty text the whole document.
 *
 * @throws Error where the text is not one
 */
export function parsePointer(text: string): string[] {
  if (!FORM.test(text)) throw new Error(`${quoteValue(text)} is not a JSON pointer: write one such as "/data/rows"`);
  return text
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** The value that a pointer leads to; undefined if there is none. */
export function pointAt(document: Json, parts: readonly string[]): Json | undefined {
  let value: Json | undefined = document;
  for (const part of parts) {
    if (Array.isArray(value)) value = INDEX.test(part) ? value[Number(part)] : undefined;
    else if (typeof value === "object" && value !== null) value = Object.hasOwn(value, part) ? value[part] : undefined;
    else return undefined;
  }
  return value;
}
