import { safeText, safeTexts } from "../../model/types/safe-text";
import { secretForms } from "../../model/types/secret-forms";

/** A text without secrets, also where only a line of one is in it, or an encoding. */
function masked(text: string, secrets: readonly string[]): string {
  return withoutForms(text, secretForms(secrets));
}

/** @param forms by {@link secretForms}, which are the same for each text */
export function withoutForms(text: string, forms: readonly string[]): string {
  return forms.reduce((left, form) => left.replaceAll(form, "[secret]"), text);
}

/** A text that people may be shown: safe, and without secrets, also those that an escape sequence within would hide. */
export function shownText(text: string, secrets: readonly string[]): string {
  return masked(safeText(masked(text, secrets)), secrets);
}

/** A value of plain data whose texts people may be shown. */
export function shownTexts<T>(value: T, secrets: readonly string[]): T {
  return deeplyMasked(safeTexts(deeplyMasked(value, secrets)), secrets);
}

/** A value of plain data whose texts, those that are keys aside, hold no secrets. */
function deeplyMasked<T>(value: T, secrets: readonly string[]): T {
  if (secrets.length === 0) return value;
  const forms = secretForms(secrets);
  const mask = (inner: unknown): unknown => {
    if (typeof inner === "string") return withoutForms(inner, forms);
    if (Array.isArray(inner)) return inner.map(mask);
    if (typeof inner !== "object" || inner === null) return inner;
    return Object.fromEntries(Object.entries(inner).map(([key, each]) => [key, mask(each)]));
  };
  return mask(value) as T;
}
