import { safeText } from "../model/types/safe-text";

/** Text that is markup already. */
export class Markup {
  constructor(readonly text: string) {}
}

export type Content = Markup | string | number | undefined | false | readonly Content[];

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Markup with values in it: everything that is not markup itself is escaped. Safe in texts and in quoted attributes. */
export function html(parts: TemplateStringsArray, ...values: Content[]): Markup {
  const text = parts.map((part, index) => (index === 0 ? part : markupOf(values[index - 1]) + part)).join("");
  return new Markup(text);
}

function markupOf(value: Content): string {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(markupOf).join("");
  if (value === undefined || value === false) return "";
  return escaped(String(value));
}

function escaped(text: string): string {
  return safeText(text, Number.POSITIVE_INFINITY).replace(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}
