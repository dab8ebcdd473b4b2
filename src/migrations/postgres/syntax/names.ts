import type { Node, RangeVar } from "libpg-query";
import { RESERVED_WORDS } from "./builtins";

/** A name as written: with its schema, where it has one. */
export interface Name {
  schema?: string;
  name: string;
}

const PLAIN = /^[a-z_][a-z0-9_$]*$/;
/** PostgreSQL cuts longer names. */
const MAX_IDENTIFIER_BYTES = 63;

export function quoteIdentifier(name: string): string {
  return PLAIN.test(name) && !RESERVED_WORDS.has(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

export function quoteName({ schema, name }: Name): string {
  return schema === undefined ? quoteIdentifier(name) : `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes("\\") ? `E${quoted.replaceAll("\\", "\\\\")}` : quoted;
}

/** As PostgreSQL makes names of constraints and indexes: parts joined by `_`, within the longest name. */
export function derivedName(...parts: string[]): string {
  return cutIdentifier(parts.join("_"));
}

function cutIdentifier(name: string): string {
  let cut = name;
  while (utf8Length(cut) > MAX_IDENTIFIER_BYTES) cut = cut.slice(0, -1);
  return cut;
}

function utf8Length(text: string): number {
  let length = 0;
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    length += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return length;
}

export function nameOfRangeVar({ schemaname, relname = "" }: RangeVar): Name {
  return schemaname === undefined ? { name: relname } : { schema: schemaname, name: relname };
}

/** `[schema, name]` as the parser writes dotted names. */
export function nameOfParts(parts: readonly string[]): Name {
  const name = parts.at(-1) ?? "";
  const schema = parts.at(-2);
  return schema === undefined ? { name } : { schema, name };
}

export function stringsOf(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => ("String" in node ? [node.String.sval ?? ""] : []));
}
