import type { FuncCall, Node } from "libpg-query";
import type { Catalogue } from "../catalogue/catalogue";
import { walk } from "../syntax/ast";
import { EXTENSION_TYPES, STEADY_FUNCTIONS, VOLATILE_FUNCTIONS } from "../syntax/builtins";
import { nameOfParts, stringsOf } from "../syntax/names";
import { isBuiltin, type TypeRef } from "../syntax/types";

/**
 * Why a default has to be computed for every row that is there, such as `random()`; undefined where PostgreSQL computes
 * it once. Functions that nothing is known of count as volatile, which is what functions are unless they say otherwise.
 */
export function volatileIn(node: Node, catalogue: Catalogue, searchPath: readonly string[]): string | undefined {
  let found: string | undefined;
  walk(node, (kind, body) => {
    if (found !== undefined) return false;
    if (kind === "FuncCall") {
      const name = nameOfParts(stringsOf((body as FuncCall).funcname));
      if (isVolatile(name, catalogue, searchPath)) found = `${name.name}()`;
    }
    // Not allowed in a default; it can't be computed once.
    if (kind === "SubLink") found = "a subquery";
    return undefined;
  });
  return found;
}

function isVolatile(
  name: { schema?: string; name: string },
  catalogue: Catalogue,
  searchPath: readonly string[],
): boolean {
  if (name.schema === undefined || name.schema === "pg_catalog") {
    if (VOLATILE_FUNCTIONS.has(name.name)) return true;
    if (STEADY_FUNCTIONS.has(name.name)) return false;
  }
  const known = catalogue.functionsNamed(name, searchPath);
  if (known.length === 0 && catalogue.extensionFunction(name) === "steady") return false;
  return known.length === 0 || known.some(({ volatility }) => volatility === "volatile");
}

/** How a new column of a type comes to the rows that are there. */
export type TypeNature = "plain" | "constrained-domain" | "unknown";

export function natureOf(type: TypeRef, catalogue: Catalogue, searchPath: readonly string[]): TypeNature {
  // An array of a domain is no domain: PostgreSQL does not look into it.
  if (type.array || isBuiltin(type)) return "plain";
  const name = type.schema === undefined ? { name: type.name } : { schema: type.schema, name: type.name };
  const { type: fact } = catalogue.type(name, searchPath);
  if (fact === undefined) {
    // A table's name is the name of its row type, too.
    if (catalogue.relation(name, searchPath).relation) return "plain";
    return EXTENSION_TYPES.has(type.name) ? "plain" : "unknown";
  }
  if (fact.kind !== "domain") return "plain";
  if (fact.checked) return "constrained-domain";
  return fact.base ? natureOf(fact.base, catalogue, searchPath) : "unknown";
}
