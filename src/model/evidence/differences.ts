import type { Change } from "./record";

/** Most values of one look or change, and longest value in characters: what is shown must stay readable. */
const MAX_VALUES = 3000;
const MAX_LENGTH = 300;
/** Stands for a value that people with access to this page may not have access to. */
const HIDDEN = "(hidden)";

export type Values = Record<string, string>;

/** A value as texts by path, such as `match.host`, as long as they are. Lists of plain values are one text. */
export function flatten(value: unknown, at = ""): Values {
  const found: Values = {};
  collect(value, at, found);
  return found;
}

function collect(value: unknown, at: string, into: Values): void {
  if (value === undefined || Object.keys(into).length >= MAX_VALUES) return;
  if (Array.isArray(value) && value.every((item) => typeof item !== "object" || item === null)) {
    into[at] = JSON.stringify(value);
    return;
  }
  if (typeof value !== "object" || value === null) {
    into[at] = typeof value === "string" ? value : JSON.stringify(value);
    return;
  }
  for (const [key, inner] of Object.entries(value)) collect(inner, at === "" ? key : `${at}.${key}`, into);
}

/** A value in a length that can be shown. */
export function clip(text: string): string {
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}...` : text;
}

/** Differences between two sets of values, ordered by the first appearance of their paths. */
export function differences(
  before: Values,
  after: Values,
  isHidden: (path: string) => boolean = () => false,
): Change[] {
  const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return paths.flatMap((path): Change[] => {
    const [from, to] = [before[path], after[path]];
    if (from === to) return [];
    if (isHidden(path))
      return [
        {
          path,
          from: from === undefined ? null : HIDDEN,
          to: to === undefined ? null : `${HIDDEN}${from === undefined ? "" : ", changed"}`,
        },
      ];
    return [{ path, from: from === undefined ? null : clip(from), to: to === undefined ? null : clip(to) }];
  });
}
