import { quoteValue } from "../types/messages";

/**
 * A JSON value without loss: a whole number that no double holds is a bigint. Every other number is a double, since a
 * fraction or an exponent says that its writer thought of one.
 */
export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** Deepest nesting that is read, in levels: comparing is recursive, and must not overflow the stack. */
export const MAX_DEPTH = 200;

/** A text that is not JSON, or JSON that can't be compared exactly. */
export class JsonError extends Error {
  constructor(
    message: string,
    /** Of the offending character, from 0. */
    readonly offset: number,
  ) {
    super(message);
    this.name = "JsonError";
  }
}

export interface ParseOptions {
  /** Told of every key of an object, with its depth (1 for the outermost) and offset. It may throw. */
  onKey?: (key: string, depth: number, offset: number) => void;
}

/** Whole numbers of 16 digits and more may not fit a double. Texts of digits, which are common, do not match. */
const NEEDS_EXACTNESS = /(?:^|[\s:,[-])\d{16}/;

/**
 * Reads JSON, by the engine's own parser wherever that loses nothing.
 *
 * A fraction or an exponent beyond a double's range becomes an infinity, which does not compare.
 *
 * @throws JsonError where the text is not JSON, or nests too deep for our own parser, where that is needed
 */
export function parseJson(text: string): Json {
  if (NEEDS_EXACTNESS.test(text)) return parseExactly(text);
  try {
    return JSON.parse(text) as Json;
  } catch {
    // The engine's message shows parts of the text and differs between versions; ours has the offset.
    return parseExactly(text);
  }
}

/** Reads JSON by our own parser: slower, exact, and with the offset of the error. Throws as {@link parseJson}. */
export function parseExactly(text: string, options: ParseOptions = {}): Json {
  return new Parser(text, options).document();
}

/** Line of an offset in a text, from 1. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** Compact JSON text of a value, with bigints as the whole numbers that they are. Undefined members are left out. */
export function jsonText(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  const members = Object.entries(value).flatMap(([key, member]) =>
    member === undefined ? [] : [`${JSON.stringify(key)}:${jsonText(member)}`],
  );
  return `{${members.join(",")}}`;
}

const WHITESPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const LITERALS: [string, Json][] = [
  ["true", true],
  ["false", false],
  ["null", null],
];

class Parser {
  private at = 0;
  private depth = 0;

  constructor(
    private readonly text: string,
    private readonly options: ParseOptions,
  ) {}

  document(): Json {
    const value = this.value();
    this.match(WHITESPACE);
    if (this.at < this.text.length) this.fail("the end");
    return value;
  }

  private value(): Json {
    this.match(WHITESPACE);
    const first = this.text[this.at];
    if (first === "{") return this.nested(() => this.object());
    if (first === "[") return this.nested(() => this.array());
    if (first === '"') return this.string();
    for (const [word, value] of LITERALS) {
      if (!this.text.startsWith(word, this.at)) continue;
      this.at += word.length;
      return value;
    }
    return this.number();
  }

  private nested<T>(read: () => T): T {
    if (++this.depth > MAX_DEPTH) throw new JsonError(`nests deeper than ${MAX_DEPTH} levels`, this.at);
    const value = read();
    this.depth--;
    return value;
  }

  private object(): Json {
    const object: { [key: string]: Json } = {};
    this.at++;
    if (this.takes("}")) return object;
    do {
      this.match(WHITESPACE);
      const offset = this.at;
      const key = this.string();
      this.options.onKey?.(key, this.depth, offset);
      if (!this.takes(":")) this.fail('":"');
      const value = this.value();
      // Assigning to this name would set the prototype instead of a member.
      if (key === "__proto__") Object.defineProperty(object, key, { value, enumerable: true, configurable: true });
      else object[key] = value;
    } while (this.takes(","));
    if (!this.takes("}")) this.fail('"," or "}"');
    return object;
  }

  private array(): Json {
    const items: Json[] = [];
    this.at++;
    if (this.takes("]")) return items;
    do items.push(this.value());
    while (this.takes(","));
    if (!this.takes("]")) this.fail('"," or "]"');
    return items;
  }

  private string(): string {
    if (this.text[this.at] !== '"') return this.fail("a text");
    // By hand: a regular expression runs out of stack on a text of megabytes.
    let end = this.text.indexOf('"', this.at + 1);
    while (end !== -1 && this.isEscaped(end)) end = this.text.indexOf('"', end + 1);
    const raw = this.text.slice(this.at, end === -1 ? undefined : end + 1);
    try {
      const text = JSON.parse(raw) as string;
      this.at += raw.length;
      return text;
    } catch (error) {
      if (error instanceof SyntaxError) return this.fail("a well-formed text");
      throw error;
    }
  }

  private isEscaped(quote: number): boolean {
    let backslashes = 0;
    while (this.text[quote - 1 - backslashes] === "\\") backslashes++;
    return backslashes % 2 === 1;
  }

  private number(): number | bigint {
    const text = this.match(NUMBER);
    if (text === undefined) return this.fail("a value");
    const value = Number(text);
    return /^-?\d+$/.test(text) && !Number.isSafeInteger(value) ? BigInt(text) : value;
  }

  private takes(character: string): boolean {
    this.match(WHITESPACE);
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const text = pattern.exec(this.text)?.[0];
    if (text !== undefined) this.at += text.length;
    return text;
  }

  private fail(expected: string): never {
    const found = this.at < this.text.length ? quoteValue(this.text[this.at]) : "the end";
    throw new JsonError(`is not JSON: ${found} at character ${this.at + 1}, where ${expected} should be`, this.at);
  }
}
