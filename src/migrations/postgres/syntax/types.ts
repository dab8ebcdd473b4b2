import type { TypeName } from "libpg-query";
import { constantOf } from "./ast";
import { BUILTIN_TYPES } from "./builtins";
import { quoteIdentifier, stringsOf } from "./names";

/** A type as a column has it. */
export interface TypeRef {
  schema?: string;
  /** PostgreSQL's own name: `int4`, `varchar`. */
  name: string;
  /** Arguments in parentheses: length, precision and scale. */
  mods: readonly number[];
  array: boolean;
}

const SERIALS: Record<string, string> = {
  serial: "int4",
  serial4: "int4",
  bigserial: "int8",
  serial8: "int8",
  smallserial: "int2",
  serial2: "int2",
};
const SQL_NAMES: Record<string, string> = {
  int2: "smallint",
  int4: "integer",
  int8: "bigint",
  float4: "real",
  float8: "double precision",
  bool: "boolean",
  bpchar: "char",
  varbit: "bit varying",
  // Keywords that are types all the same.
  varchar: "varchar",
  numeric: "numeric",
  bit: "bit",
  time: "time",
  timestamp: "timestamp",
  interval: "interval",
};
/** Their second modifier tells fields, not digits. */
const FIELDED = "interval";

/** The type under `serial` and its like; undefined for any other. */
export const serialBase = ({ schema, name }: TypeRef): string | undefined =>
  schema === undefined ? SERIALS[name] : undefined;

export function typeOf(type: TypeName | undefined): TypeRef {
  const names = stringsOf(type?.names);
  const schema = names.at(-2);
  const mods = (type?.typmods ?? []).map((node) =>
    "A_Const" in node ? Number(constantOf(node.A_Const) ?? Number.NaN) : Number.NaN,
  );
  return {
    ...(schema !== undefined && { schema }),
    // The parser writes the standard's names as pg_catalog's, and leaves PostgreSQL's own as they are.
    name: names.at(-1) ?? "",
    mods,
    array: (type?.arrayBounds ?? []).length > 0,
  };
}

/** Whether it names a type of pg_catalog: with that schema, or with none. */
const mayBeBuiltin = ({ schema }: TypeRef): boolean => schema === undefined || schema === "pg_catalog";

export const isBuiltin = (type: TypeRef): boolean => mayBeBuiltin(type) && BUILTIN_TYPES.has(type.name);

export function typeText({ schema, name, mods, array }: TypeRef): string {
  const base =
    schema === undefined || schema === "pg_catalog"
      ? (SQL_NAMES[name] ?? quoteIdentifier(name))
      : `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
  const inside = mods.length > 0 && mods.every(Number.isFinite) && name !== FIELDED ? `(${mods.join(",")})` : "";
  return `${base}${inside}${array ? "[]" : ""}`;
}

export function sameType(left: TypeRef, right: TypeRef): boolean {
  return sameBase(left, right) && String(modsOf(left)) === String(modsOf(right));
}

function sameBase(left: TypeRef, right: TypeRef): boolean {
  const schemaOf = (type: TypeRef) => (type.schema === "pg_catalog" ? undefined : type.schema);
  return left.name === right.name && schemaOf(left) === schemaOf(right) && left.array === right.array;
}

/** The parser writes `bit` and `char` as if they had no length, which they have: 1. */
function modsOf({ name, mods }: TypeRef): readonly number[] {
  return mods.length === 0 && (name === "bpchar" || name === "bit") ? [1] : mods;
}

/** Digits of a second that times hold at most. */
const FULL_PRECISION = 6;

/** How a change of type acts on what is stored; anything not known to be one of the first two is the last. */
export type TypeChange = "same" | "widened" | "other";

/**
 * Whether PostgreSQL changes the type in the catalogue alone, with values that the old release reads and writes as before.
 * @see ATColumnChangeRequiresRewrite, varchar_support, numeric_support, temporal and varbit support functions
 */
export function typeChange(from: TypeRef, to: TypeRef): TypeChange {
  if (!mayBeBuiltin(from) || !mayBeBuiltin(to)) return sameType(from, to) ? "same" : "other";
  if (sameType(from, to)) return "same";
  if (from.array || to.array) return "other";
  if (!from.mods.every(Number.isFinite) || !to.mods.every(Number.isFinite)) return "other";
  const [old] = from.mods;
  const [next] = to.mods;
  switch (`${from.name}>${to.name}`) {
    case "varchar>text":
    case "cidr>inet":
      return "widened";
    case "text>varchar":
      return next === undefined ? "widened" : "other";
    case "varchar>varchar":
    case "varbit>varbit":
      return next === undefined || (old !== undefined && next >= old) ? "widened" : "other";
    case "timestamp>timestamp":
    case "timestamptz>timestamptz":
    case "time>time":
    case "timetz>timetz":
      if (next === FULL_PRECISION) return "widened";
      return next === undefined || (old !== undefined && next >= old) ? "widened" : "other";
    case "numeric>numeric":
      return numericWidened(from.mods, to.mods) ? "widened" : "other";
    default:
      return "other";
  }
}

function numericWidened(from: readonly number[], to: readonly number[]): boolean {
  if (to.length === 0) return true;
  if (from.length === 0) return false;
  const [oldPrecision = 0, oldScale = 0] = from;
  const [precision = 0, scale = 0] = to;
  return precision >= oldPrecision && scale === oldScale;
}
