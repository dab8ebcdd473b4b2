import type { FuncCall, Node } from "libpg-query";
import { columnOf, constantOf } from "./ast";
import { quoteIdentifier, quoteLiteral, stringsOf } from "./names";

const PLACEHOLDER = /%(?:(\d+)\$)?([sIL%])/g;

/** Stands for a name that is known at run time only. */
const HOLE = "x";

/** The text that an expression makes, with a name in each place that is known at run time only. */
export function textWithHoles(node: Node | undefined, variables: ReadonlyMap<string, string>): string {
  if (node === undefined) return HOLE;
  const known = constantText(node, variables);
  if (known !== undefined) return known;
  if ("A_Expr" in node && stringsOf(node.A_Expr.name).at(-1) === "||")
    return textWithHoles(node.A_Expr.lexpr, variables) + textWithHoles(node.A_Expr.rexpr, variables);
  if (!("FuncCall" in node)) return HOLE;
  const [template, ...values] = (node.FuncCall.args ?? []).map((argument) => textWithHoles(argument, variables));
  if (stringsOf(node.FuncCall.funcname).at(-1) !== "format" || template === undefined) return HOLE;
  return formatted(template, values) ?? HOLE;
}

/**
 * The text that an expression of constants makes: literals, `||`, `format`, `concat` and the quoting functions.
 * @param variables texts of variables that never hold anything else
 * @returns undefined where the text depends on anything else
 */
export function constantText(node: Node | undefined, variables: ReadonlyMap<string, string>): string | undefined {
  if (node === undefined) return undefined;
  if ("A_Const" in node) return constantOf(node.A_Const) ?? undefined;
  if ("TypeCast" in node) return constantText(node.TypeCast.arg, variables);
  if ("ColumnRef" in node) {
    const name = node.ColumnRef.fields?.length === 1 ? columnOf(node) : undefined;
    return name === undefined ? undefined : variables.get(name);
  }
  if ("A_Expr" in node) {
    if (stringsOf(node.A_Expr.name).at(-1) !== "||") return undefined;
    const left = constantText(node.A_Expr.lexpr, variables);
    const right = constantText(node.A_Expr.rexpr, variables);
    return left === undefined || right === undefined ? undefined : left + right;
  }
  return "FuncCall" in node ? calledText(node.FuncCall, variables) : undefined;
}

function calledText(
  { funcname, args = [], func_variadic }: FuncCall,
  variables: ReadonlyMap<string, string>,
): string | undefined {
  if (func_variadic) return undefined;
  const names = stringsOf(funcname);
  if (names.length > 1 && names[0] !== "pg_catalog") return undefined;
  const values = args.map((argument) => constantText(argument, variables));
  if (!values.every((value) => value !== undefined)) return undefined;
  const [first = "", second = "", third = ""] = values;
  switch (names.at(-1)) {
    case "format":
      return formatted(first, values.slice(1));
    case "concat":
      return values.join("");
    case "quote_ident":
      return quoteIdentifier(first);
    case "quote_literal":
    case "quote_nullable":
      return quoteLiteral(first);
    case "replace":
      return second === "" ? first : first.replaceAll(second, third);
    case "lower":
      return first.toLowerCase();
    case "upper":
      return first.toUpperCase();
    case "btrim":
      return values.length === 1 ? first.replace(/^ +| +$/g, "") : undefined;
    default:
      return undefined;
  }
}

function formatted(template: string, values: readonly string[]): string | undefined {
  let next = 0;
  let known = true;
  const text = template.replace(PLACEHOLDER, (_, position: string | undefined, kind: string) => {
    if (kind === "%") return "%";
    next = position === undefined ? next + 1 : Number(position);
    const value = values[next - 1];
    if (value === undefined) known = false;
    return kind === "I" ? quoteIdentifier(value ?? "") : kind === "L" ? quoteLiteral(value ?? "") : (value ?? "");
  });
  // A width, or anything else that was not understood, is left standing.
  return known && !/%/.test(template.replace(PLACEHOLDER, "")) ? text : undefined;
}
